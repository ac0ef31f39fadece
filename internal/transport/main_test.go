package transport_test

import (
	"testing"

	"go.uber.org/goleak"
)

// net/http keeps a connection for half a second after it has refused a request without reading all of
// it, which is longer than goleak waits.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}
