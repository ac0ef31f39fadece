package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The browser's test runs what is here, so what the README shows is what works.
func TestReadmeShowsThisCode(t *testing.T) {
	read := func(path string) string {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	readme := read("../../docs/tokens.md")
	sign := regexp.MustCompile(`(?ms)^func sign\(.*?^}\n`).FindString(read("main.go"))
	if sign == "" || !strings.Contains(readme, sign) {
		t.Errorf("the README does not have sign as it is here:\n%s", sign)
	}
}
