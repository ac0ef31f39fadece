// Package leaks has the TestMain of packages whose tests must leave no goroutine behind.
package leaks

import (
	"flag"
	"strconv"
	"testing"

	"go.uber.org/goleak"
)

// parallel is how many tests of a package run at once, unless go test's -parallel says otherwise.
// Its default is one for each processor, and most of these tests wait.
const parallel = 4

// Main runs the tests of a package, and fails if a goroutine is left behind.
func Main(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", strconv.Itoa(parallel))
	}
	goleak.VerifyTestMain(m, lingering)
}

// lingering is no leak: net/http keeps a connection for half a second after it has refused a request
// without reading all of it. That is longer than goleak waits.
var lingering = goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait")
