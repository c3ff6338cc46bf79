package localapi_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// outside is a controller in a module of its own.
const outside = `package main

import (
	"context"
	"errors"

	"github.com/felhom/felhom-golden/bootstrapper/localapi"
)

func main() {
	client, err := localapi.New(localapi.Options{Endpoint: "https://192.0.2.1:8443", Pins: []string{"uSSmg6cuEJj9CF7hiBdQ5OEJKOs0NszXJXjRNBwq8DM="}, Token: "t"})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var storage localapi.Storage
	storage, err = client.Storage(ctx)
	var own *localapi.Error
	if !errors.As(err, &own) || own.Class != localapi.ClassCanceled || storage.State != "" {
		panic(err)
	}
}
`

// Go lets no other module import what is below a directory "internal": this is
// the proof that a controller can use the package, and that it needs no module
// but this one.
func TestAnotherModuleImportsIt(t *testing.T) {
	top, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"main.go": outside,
		"go.mod": "module controller.example\n\ngo 1.26\n\nrequire github.com/felhom/felhom-golden v0.0.0\n\nreplace github.com/felhom/felhom-golden => " +
			top + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "run", "-mod=mod", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "GOPROXY=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("go run: %v\n%s", err, out)
	}
}

// A type of an internal package in an exported declaration could be neither named
// nor read about by another module.
func TestExportedTypesAreItsOwn(t *testing.T) {
	files := token.NewFileSet()
	//nolint:staticcheck // the files of this directory are all of the package
	parsed, err := parser.ParseDir(files, ".", func(info fs.FileInfo) bool { return !strings.HasSuffix(info.Name(), "_test.go") }, 0)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, file := range parsed["localapi"].Files {
		internal := map[string]bool{}
		for _, spec := range file.Imports {
			path, _ := strconv.Unquote(spec.Path.Value)
			internal[filepath.Base(path)] = strings.Contains(path, "/internal/")
		}
		for _, d := range file.Decls {
			ast.Inspect(exported(d), func(n ast.Node) bool {
				s, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				seen++
				if x, ok := s.X.(*ast.Ident); ok && internal[x.Name] {
					t.Errorf("%s: %s.%s is of an internal package", files.Position(s.Pos()), x.Name, s.Sel.Name)
				}
				return true
			})
		}
	}
	if seen == 0 {
		t.Error("no exported declaration was looked at")
	}
}

// exported returns what another module sees of a declaration.
func exported(d ast.Decl) ast.Node {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() {
			return d.Type
		}
	case *ast.GenDecl:
		ast.Inspect(d, func(n ast.Node) bool {
			if s, ok := n.(*ast.StructType); ok {
				var kept []*ast.Field
				for _, f := range s.Fields.List {
					if len(f.Names) == 0 || f.Names[0].IsExported() {
						kept = append(kept, f)
					}
				}
				s.Fields.List = kept
			}
			return true
		})
		specs := &ast.GenDecl{Tok: d.Tok}
		for _, spec := range d.Specs {
			if s, ok := spec.(*ast.TypeSpec); ok && s.Name.IsExported() {
				specs.Specs = append(specs.Specs, s)
			}
		}
		return specs
	}
	return &ast.BadDecl{}
}
