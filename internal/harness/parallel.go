package harness

import (
	"flag"
	"strconv"
)

// Parallel lets n tests of the package run at once, unless go test's -parallel says otherwise. Its
// default is one for each processor, and most of these tests wait. For TestMain.
func Parallel(n int) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", strconv.Itoa(n))
	}
}
