//go:build unix

package redisrevoke_test

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if redis := os.Getenv(nodeEnv); redis != "" {
		runNode(redis) // this is a process that a test has started
		return
	}
	// The tests wait for Redis, and compute little. -parallel on the command line comes later.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}
