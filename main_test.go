package socketiojwt_test

import (
	"testing"

	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	harness.Parallel(4)
	goleak.VerifyTestMain(m)
}
