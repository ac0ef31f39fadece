package socketiojwt_test

import (
	"bytes"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The exported API, as other programs are compiled against it. Where a change is meant, run
//
//	UPDATE_API=1 go test -run TestAPI .
//
// and say in CHANGELOG.md how to follow it.
func TestAPI(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{".", "redisrevoke", "redisadapter"} {
		golden := filepath.Join("testdata", "api", strings.ReplaceAll(dir, ".", "socketiojwt")+".txt")
		got := apiOf(t, dir)
		if os.Getenv("UPDATE_API") != "" {
			if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		was, is := strings.Split(string(want), "\n"), strings.Split(got, "\n")
		for _, line := range was {
			if !slices.Contains(is, line) {
				t.Errorf("%s: gone: %s", dir, line)
			}
		}
		for _, line := range is {
			if !slices.Contains(was, line) {
				t.Errorf("%s: new: %s", dir, line)
			}
		}
	}
}

// apiOf returns a line for each exported name of a package, sorted.
func apiOf(t *testing.T, dir string) string {
	t.Helper()
	set := token.NewFileSet()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	pkg, err := doc.NewFromFiles(set, files, dir)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	add := func(prefix string, node any) {
		var text bytes.Buffer
		if err := printer.Fprint(&text, set, node); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, prefix+strings.Join(strings.Fields(text.String()), " "))
	}
	values := func(all []*doc.Value) {
		for _, value := range all {
			for _, spec := range value.Decl.Specs {
				add(value.Decl.Tok.String()+" ", spec)
			}
		}
	}
	functions := func(all []*doc.Func) {
		for _, f := range all {
			f.Decl.Body = nil
			add("", f.Decl)
		}
	}
	fields := func(of string, list *ast.FieldList) {
		for _, field := range list.List {
			for _, name := range field.Names {
				add(of+"."+name.Name+" ", field.Type)
			}
			if len(field.Names) == 0 {
				add(of+" has ", field.Type)
			}
		}
	}
	values(pkg.Consts)
	values(pkg.Vars)
	functions(pkg.Funcs)
	for _, typ := range pkg.Types {
		values(typ.Consts)
		values(typ.Vars)
		functions(typ.Funcs)
		functions(typ.Methods)
		spec := typ.Decl.Specs[0].(*ast.TypeSpec)
		switch of := spec.Type.(type) {
		case *ast.StructType:
			lines = append(lines, "type "+typ.Name+" struct")
			fields(typ.Name, of.Fields)
		case *ast.InterfaceType:
			lines = append(lines, "type "+typ.Name+" interface")
			fields(typ.Name, of.Methods)
		default:
			add("type ", spec)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}
