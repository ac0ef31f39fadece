package socketiojwt_test

import (
	"testing"

	"github.com/go-socketiojwt/socketiojwt/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }
