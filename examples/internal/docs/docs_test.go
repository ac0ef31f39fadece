// Package docs checks the README and the pages in docs: that their links lead somewhere, that their
// code compiles, and that a reader with a narrow window can read them.
package docs

import (
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

const top = "../../.." // the repository

// pages are what people read.
func pages(t *testing.T) map[string]string {
	t.Helper()
	texts := make(map[string]string)
	for _, pattern := range []string{"*.md", "docs/*.md", "client/README.md", "examples/README.md"} {
		names, err := filepath.Glob(filepath.Join(top, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			relative, err := filepath.Rel(top, name)
			if err != nil {
				t.Fatal(err)
			}
			texts[relative] = string(text)
		}
	}
	return texts
}

// block is a fenced block of code.
type block struct {
	page string
	line int
	text string
}

// blocks returns those of a language, and what is left of the page.
func blocks(page, text, language string) (found []block, prose []string) {
	var open bool
	var of string
	for i, line := range strings.Split(text, "\n") {
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && !open:
			open, of = true, fence
			if of == language {
				found = append(found, block{page: page, line: i + 2})
			}
		case isFence:
			open = false
		case open && of == language:
			found[len(found)-1].text += line + "\n"
		}
		if open || isFence {
			line = ""
		}
		prose = append(prose, line)
	}
	return found, prose
}

func allBlocks(t *testing.T, language string) (all []block) {
	t.Helper()
	texts := pages(t)
	for page, text := range texts {
		found, _ := blocks(page, text, language)
		all = append(all, found...)
	}
	if len(all) == 0 {
		t.Fatalf("no block of %s was found", language)
	}
	return all
}

// imports are those that a fragment may use without saying so.
var imports = map[string]string{
	"cors":         "github.com/rs/cors",
	"engineio":     "github.com/googollee/go-socket.io/engineio",
	"jwt":          "github.com/golang-jwt/jwt/v5",
	"json":         "encoding/json",
	"polling":      "github.com/googollee/go-socket.io/engineio/transport/polling",
	"rand":         "crypto/rand",
	"redis":        "github.com/gomodule/redigo/redis",
	"redisadapter": "github.com/go-socketiojwt/socketiojwt/redisadapter",
	"redisrevoke":  "github.com/go-socketiojwt/socketiojwt/redisrevoke",
	"socketio":     "github.com/googollee/go-socket.io",
	"socketiojwt":  "github.com/go-socketiojwt/socketiojwt",
	"sql":          "database/sql",
	"http":         "net/http",
	"slog":         "log/slog",
	"transport":    "github.com/googollee/go-socket.io/engineio/transport",
	"websocket":    "github.com/googollee/go-socket.io/engineio/transport/websocket",
}

// given are the names that a fragment may use.
const given = `
var (
	auth                 *socketiojwt.Authorizer
	server               *socketio.Server
	sio                  *socketiojwt.Server
	session              *socketiojwt.Session
	s                    socketio.Conn
	ctx                  context.Context
	longestLifeOfAToken  time.Duration
	newSecret, oldSecret string
	findKey              func(context.Context, string) (any, error)
	fromOurApp           func(*http.Request) bool
	limits, t            any
	traced               func(t any, auth *socketiojwt.Authorizer, name string, handler any) any
	mux                  *http.ServeMux
	stop                 context.Context
	web                  *http.Server
	limited              func(limits any, auth *socketiojwt.Authorizer, handler, otherwise any) any
)
`

// program makes a file of a block.
func program(b block) (string, error) {
	text := b.text
	if strings.HasPrefix(text, "package ") {
		return text, nil
	}
	if _, err := parser.ParseFile(token.NewFileSet(), "", "package main\n"+text, 0); err == nil {
		text += "\nfunc main() {}\n" // declarations
	} else {
		uses, err := used(text)
		if err != nil {
			return "", err
		}
		text = given + "\nfunc main() {\n" + text + uses + "}\n"
	}
	file, err := parser.ParseFile(token.NewFileSet(), "", "package main\n"+text, 0)
	if err != nil {
		return "", err
	}
	names := make(map[string]bool)
	ast.Inspect(file, func(n ast.Node) bool {
		if selector, ok := n.(*ast.SelectorExpr); ok {
			if of, ok := selector.X.(*ast.Ident); ok && of.Obj == nil {
				names[of.Name] = true
			}
		}
		return true
	})
	header := "package main\n\nimport (\n"
	for name := range names {
		path := imports[name]
		if path == "" {
			path = name
		}
		header += fmt.Sprintf("\t%s %q\n", name, path)
	}
	source, err := format.Source([]byte(header + ")\n" + text))
	return string(source), err
}

// used returns statements that use what a fragment declares.
func used(fragment string) (string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), "", "package main\nfunc main() {\n"+fragment+"}\n", 0)
	if err != nil {
		return "", err
	}
	var names []string
	for _, statement := range file.Decls[0].(*ast.FuncDecl).Body.List {
		if assign, ok := statement.(*ast.AssignStmt); ok && assign.Tok == token.DEFINE {
			for _, left := range assign.Lhs {
				if name := left.(*ast.Ident).Name; name != "_" && !slices.Contains(names, name) {
					names = append(names, name)
				}
			}
		}
	}
	uses := ""
	for _, name := range names {
		uses += "_ = " + name + "\n"
	}
	return uses, nil
}

func TestGoCompiles(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp(".", "testdata-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for i, b := range allBlocks(t, "go") {
		source, err := program(b)
		if err != nil {
			t.Errorf("%s:%d: %v", b.page, b.line, err)
			continue
		}
		folder := filepath.Join(dir, fmt.Sprintf("%s_%d_%d", strings.NewReplacer("/", "_", ".md", "").Replace(b.page), b.line, i))
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "main.go"), []byte(source), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("go", "vet", "./"+dir+"/...").CombinedOutput(); err != nil {
		t.Errorf("%s", out)
	}
}

func TestJavaScriptCompiles(t *testing.T) {
	t.Parallel()
	for i, b := range allBlocks(t, "js") {
		file := filepath.Join(t.TempDir(), fmt.Sprintf("%d.mjs", i))
		if err := os.WriteFile(file, []byte(b.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("node", "--check", file).CombinedOutput(); err != nil {
			t.Errorf("%s:%d: %s", b.page, b.line, out)
		}
	}
}

// Code of Go and JavaScript is under the names that the tests look for: "ts" and "tsx" are those of
// client/test/docs.test.mjs. The other languages are not checked, or by the tests that run them.
func TestBlocksHaveKnownLanguages(t *testing.T) {
	t.Parallel()
	known := []string{
		"go", "js", "ts", "tsx", "", "sh", "html", "json", "yaml", "nginx", "haproxy", "swift", "java", "dart", "python", "cpp",
	}
	for page, text := range pages(t) {
		open := false
		for i, line := range strings.Split(text, "\n") {
			language, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
			if !isFence {
				continue
			}
			if open = !open; open && !slices.Contains(known, language) {
				t.Errorf("%s:%d: a block of %q", page, i+1, language)
			}
		}
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
)

// anchors are those that a page has, as GitHub makes them.
func anchors(text string) (all []string) {
	for _, h := range heading.FindAllStringSubmatch(text, -1) {
		name := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(h[1]), "")
		all = append(all, strings.ReplaceAll(name, " ", "-"))
	}
	return all
}

func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	for page, text := range pages(t) {
		_, prose := blocks(page, text, "")
		for i, line := range prose {
			for _, match := range link.FindAllStringSubmatch(line, -1) {
				u, err := url.Parse(match[1])
				if err != nil {
					t.Errorf("%s:%d: %v", page, i+1, err)
					continue
				}
				if u.Scheme != "" {
					continue
				}
				target := page
				if u.Path != "" {
					target = filepath.Join(filepath.Dir(page), u.Path)
				}
				content, err := os.ReadFile(filepath.Join(top, target))
				if err != nil && !isFolder(filepath.Join(top, target)) {
					t.Errorf("%s:%d: there is no %s", page, i+1, target)
				} else if u.Fragment != "" && !slices.Contains(anchors(string(content)), u.Fragment) {
					t.Errorf("%s:%d: %s has no heading %q", page, i+1, target, u.Fragment)
				}
			}
		}
	}
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func TestProseIsNarrow(t *testing.T) {
	t.Parallel()
	texts := pages(t)
	for page, text := range texts {
		_, prose := blocks(page, text, "")
		for i, line := range prose {
			if n := utf8.RuneCountInString(line); n > 100 && !strings.HasPrefix(line, "|") {
				t.Errorf("%s:%d: %d columns, at most 100", page, i+1, n)
			}
		}
	}
	if n := strings.Count(texts["README.md"], "\n"); n > 150 {
		t.Errorf("README.md has %d lines, at most 150", n)
	}
}

// docs/README.md lists every page, with the question that it answers.
func TestEveryPageIsListed(t *testing.T) {
	t.Parallel()
	texts := pages(t)
	for page := range texts {
		name, inDocs := strings.CutPrefix(page, "docs/")
		if !inDocs || name == "README.md" {
			continue
		}
		row := regexp.MustCompile(`(?m)^\| \[` + regexp.QuoteMeta(name) + `\]\(` + regexp.QuoteMeta(name) + `\) \| .+\? \|$`)
		if !row.MatchString(texts["docs/README.md"]) {
			t.Errorf("docs/README.md has no row for %s with a question", name)
		}
	}
	if !strings.Contains(texts["README.md"], "(docs/README.md)") {
		t.Error("README.md does not lead to docs/README.md")
	}
}

// What people search for is found, in the words that they use.
func TestWordsAreFound(t *testing.T) {
	t.Parallel()
	texts := pages(t)
	for word, page := range map[string]string{
		"go-socket.io 1.7.0":    "README.md",
		"ReadHeaderTimeout":     "README.md",
		"jsonwebtoken":          "README.md",
		"graceful":              "README.md",
		"Graceful shutdown":     "docs/deployment.md",
		"Sticky sessions":       "docs/deployment.md",
		"Host $http_host":       "docs/deployment.md",
		"Upgrade $http_upgrade": "docs/deployment.md",
		"X-Forwarded-For":       "docs/deployment.md",
		"Rotating secrets":      "docs/tokens.md",
		"1.234567e+06":          "docs/tokens.md",
		"`id`":                  "docs/tokens.md",
		"React":                 "docs/react.md",
		"TypeScript":            "docs/react.md",
		"OnError":               "docs/server.md",
		"ulimit":                "docs/capacity.md",
		"10,000 users":          "docs/capacity.md",
		"OutboxBytes` × client": "docs/capacity.md",
		"socket.handshake.auth": "docs/migrating.md",
		"CORS":                  "docs/origins.md",
		"Your own host":         "docs/origins.md",
	} {
		if !strings.Contains(texts[page], word) {
			t.Errorf("%s does not say %q", page, word)
		}
	}
}
