package serve

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestClientDir(t *testing.T) {
	dir := t.TempDir()
	if _, err := ClientDir(dir); err == nil || !strings.Contains(err.Error(), "make demo") {
		t.Errorf("a folder without the client: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, ClientFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := ClientDir(dir); err != nil || got != dir {
		t.Errorf("got %q, %v", got, err)
	}
	t.Chdir(filepath.Dir(dir))
	if _, err := ClientDir(""); err == nil {
		t.Error("found a client where none is")
	}
}
