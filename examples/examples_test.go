// Package examples checks that each example is whole: that its folder builds elsewhere, with what its
// module needs and nothing else of this repository.
package examples

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// folders are those of the examples.
func folders(t *testing.T) (all []string) {
	t.Helper()
	mains, err := filepath.Glob("*/main.go")
	if err != nil || len(mains) < 15 {
		t.Fatalf("%d examples: %v", len(mains), err)
	}
	for _, main := range mains {
		all = append(all, filepath.Dir(main))
	}
	return all
}

// moveModule writes the go.mod and go.sum of a folder to another one, for a module of another name.
func moveModule(t *testing.T, from, to string) {
	t.Helper()
	mod, err := os.ReadFile(filepath.Join(from, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`(?m)^module .*`).ReplaceAllString(string(mod), "module x")
	text = regexp.MustCompile(`=> (\.\S+)`).ReplaceAllStringFunc(text, func(replace string) string {
		target, err := filepath.Abs(filepath.Join(from, strings.TrimPrefix(replace, "=> ")))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("=> %q", target)
	})
	sum, err := os.ReadFile(filepath.Join(from, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"go.mod": []byte(text), "go.sum": sum} {
		if err := os.WriteFile(filepath.Join(to, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// moveProgram copies a folder, without its tests, its module and what npm puts there.
func moveProgram(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		switch name := entry.Name(); {
		case err != nil:
			return err
		case name == "node_modules":
			return fs.SkipDir
		case entry.IsDir(), strings.HasSuffix(name, "_test.go"), name == "go.mod", name == "go.sum":
			return nil
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, relative)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		return os.WriteFile(target, content, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// One module holds the copies of all that share a go.mod. `go list -export` compiles them as go build
// does, and does not link 15 programs that nobody starts.
func TestBuildElsewhere(t *testing.T) {
	t.Parallel()
	modules := make(map[string]string) // from the folder with the go.mod to its copy
	for _, folder := range folders(t) {
		module := "."
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			module = folder
		}
		if modules[module] == "" {
			modules[module] = t.TempDir()
			moveModule(t, module, modules[module])
		}
		moveProgram(t, folder, filepath.Join(modules[module], "copies", folder))
	}
	for module, copied := range modules {
		build := exec.Command("go", "list", "-export", "./...")
		build.Dir = copied
		build.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off")
		if out, err := build.CombinedOutput(); err != nil {
			t.Errorf("the examples with the go.mod in %s: %v\n%s", module, err, out)
		}
	}
}

// `go mod tidy` in a copy looks at the tests too, and nobody publishes the module of the examples.
func TestNothingImportsThisModule(t *testing.T) {
	t.Parallel()
	for _, folder := range folders(t) {
		names, err := filepath.Glob(folder + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range file.Imports {
				if strings.Contains(i.Path.Value, "/socketiojwt/examples") {
					t.Errorf("%s imports %s", name, i.Path.Value)
				}
			}
		}
	}
}

func TestReadmeHasAll(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders(t) {
		if !strings.Contains(string(readme), "| [`"+folder+"`]("+folder) {
			t.Errorf("README.md has no row for %s", folder)
		}
	}
}

// What several examples have is the same in all of them, so that a mistake is mended everywhere.
func TestCopiesAreEqual(t *testing.T) {
	t.Parallel()
	first := make(map[string]string) // where each was seen first
	text := make(map[string]string)
	check := func(what, where, content string) {
		if first[what] == "" {
			first[what], text[what] = where, content
		} else if content != text[what] {
			t.Errorf("%s differs in %s and %s", what, first[what], where)
		}
	}
	read := func(path string) string {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	for _, folder := range folders(t) {
		functions := make(map[string]string)
		paths, err := filepath.Glob(folder + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			if name := filepath.Base(path); name == "keys.go" || name == "login.go" || name == "provider.go" {
				check(name, folder, read(path))
			}
			for name, content := range functionsOf(t, path) {
				functions[name] = content
			}
		}
		if functions["run"] == "" {
			t.Errorf("%s has no function run", folder)
		}
		for _, name := range []string{"run", "secureHeaders"} {
			if functions[name] != "" {
				check(name, folder, functions[name])
			}
		}
	}
	for _, folder := range []string{"chat", "client", "cluster"} {
		check("style.css", folder, read(folder+"/static/style.css"))
	}
	check("the package in client/", "client/static", read("client/static/socketiojwt.js"))
	check("the package in client/", "../client", read("../client/browser.js"))
}

// functionsOf returns the text of the functions of a file, with their comments.
func functionsOf(t *testing.T, path string) map[string]string {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, declaration := range file.Decls {
		if f, ok := declaration.(*ast.FuncDecl); ok && f.Recv == nil {
			begin := f.Pos()
			if f.Doc != nil {
				begin = f.Doc.Pos()
			}
			all[f.Name.Name] = string(source[set.Position(begin).Offset:set.Position(f.End()).Offset])
		}
	}
	return all
}
