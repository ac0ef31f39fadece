package socketiojwt_test

import (
	"testing"

	"github.com/go-socketiojwt/socketiojwt/internal/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
