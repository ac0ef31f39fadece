//go:build unix

package redisrevoke_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if redis := os.Getenv(nodeEnv); redis != "" {
		runNode(redis) // this is a process that a test has started
		return
	}
	goleak.VerifyTestMain(m)
}
