package docs

import (
	"bytes"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
)

// The first program of the README, copied as it stands, serves who has a token, refuses who has
// none, and ends by itself after SIGTERM.
func TestFirstProgramRuns(t *testing.T) {
	t.Parallel()
	const address = "127.0.0.1:8080"
	blocks, _ := blocks("README.md", pages(t)["README.md"], "go")
	if len(blocks) != 1 || strings.Count(blocks[0].text, address) != 1 {
		t.Fatalf("README.md has not one program at %s", address)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := free.Addr().String()
	free.Close()

	folder, err := os.MkdirTemp(".", "testdata-first-") // in this module, whose requirements it needs
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	source, binary := filepath.Join(folder, "main.go"), filepath.Join(t.TempDir(), "first")
	if err := os.WriteFile(source, []byte(strings.Replace(blocks[0].text, address, at, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", binary, source).CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	program := exec.Command(binary)
	var output bytes.Buffer
	program.Stdout, program.Stderr = &output, &output
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- program.Wait() }()
	defer program.Process.Kill()
	for { // until it listens
		conn, err := net.Dial("tcp", at)
		if err == nil {
			conn.Close()
			break
		}
		select {
		case err := <-ended:
			t.Fatalf("it ended with %v: %s", err, output.String())
		case <-time.After(10 * time.Millisecond):
		}
	}

	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "bob"}).SignedString([]byte("your secret of 32 bytes, or public key"))
	if err != nil {
		t.Fatal(err)
	}
	bob := siotest.MustDial(t, "http://"+at, siotest.Options{Transport: "websocket", Query: url.Values{"token": {token}}}).Must(t)
	if welcome := bob.Event("/", "welcome"); welcome.Raw != `42["welcome","bob"]` {
		t.Errorf("bob got %s", welcome.Raw)
	}
	nobody := siotest.MustDial(t, "http://"+at, siotest.Options{Transport: "websocket"}).Must(t)
	if message, _ := nobody.Refused("/"); message != "no token provided" {
		t.Errorf("nobody got %q", message)
	}

	if err := program.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	bob.Rest() // until the server has closed it
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v: %s", err, output.String())
	}
}
