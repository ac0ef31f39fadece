package transport_test

import (
	"io"
	"log"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard) // go-socket.io logs what clients do wrong
	goleak.VerifyTestMain(m)
}
