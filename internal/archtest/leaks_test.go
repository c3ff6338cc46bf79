package archtest_test

import (
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// unchecked are packages whose TestMain does not fail tests that leave goroutines or
// open files, each with the reason.
var unchecked = map[string]string{
	module + "internal/leaktest": "its TestMain calls its own Run",
}

// Each package with tests looks for leaks from its start: what leaves goroutines or open
// files may come later, when the check is easily forgotten.
func TestPackagesLookForLeaks(t *testing.T) {
	own, _ := load(t)
	withTests := 0
	for _, p := range own {
		files, err := filepath.Glob(filepath.Join(p.Dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) == 0 {
			continue
		}
		withTests++
		texts := make([]string, 0, len(files))
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, string(text))
		}
		why := leaksUnseen(t, texts)
		switch excepted := unchecked[p.ImportPath] != ""; {
		case why != "" && !excepted:
			t.Errorf("%s: %s: call leaktest.Run in TestMain, as in systemd/leak_test.go", p.ImportPath, why)
		case why == "" && excepted:
			t.Errorf("%s looks for leaks: remove it from the exceptions", p.ImportPath)
		}
	}
	if withTests < 50 {
		t.Errorf("got %d packages with tests, want 50 or more", withTests)
	}
	for path := range unchecked {
		if !isOwn(own, path) {
			t.Errorf("%s is an exception, and no package has that path", path)
		}
	}
}

func isOwn(own []pkg, path string) bool {
	for _, p := range own {
		if p.ImportPath == path {
			return true
		}
	}
	return false
}

// leaksUnseen returns why tests of these files may leave something unseen, or "".
func leaksUnseen(t *testing.T, texts []string) string {
	t.Helper()
	hasUntagged, mains := false, map[string]bool{} // the build constraints of each TestMain
	for _, text := range texts {
		file, err := parser.ParseFile(token.NewFileSet(), "", text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		tag := buildConstraint(file)
		hasUntagged = hasUntagged || tag == ""
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil || f.Name.Name != "TestMain" {
				continue
			}
			mains[tag] = true
			if !usesLeaktest(file) {
				return "the file of its TestMain does not use leaktest"
			}
		}
	}
	if len(mains) == 0 {
		return "it has no TestMain"
	}
	if !hasUntagged || mains[""] {
		return ""
	}
	for tag := range mains {
		if mains["!"+tag] {
			return ""
		}
	}
	return "its TestMain has a build tag that not all of its tests have"
}

// buildConstraint returns the expression of the line //go:build, or "".
func buildConstraint(f *ast.File) string {
	for _, group := range f.Comments {
		for _, c := range group.List {
			if constraint.IsGoBuild(c.Text) && c.Pos() < f.Package {
				return strings.TrimSpace(strings.TrimPrefix(c.Text, "//go:build"))
			}
		}
	}
	return ""
}

// usesLeaktest reports whether f uses leaktest.Run or leaktest.Checked. It may do so in a
// type that TestMain gives to a library.
func usesLeaktest(f *ast.File) (uses bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && (s.Sel.Name == "Run" || s.Sel.Name == "Checked") {
			x, ok := s.X.(*ast.Ident)
			uses = uses || ok && x.Name == "leaktest"
		}
		return true
	})
	return uses
}

// leaksUnseen reports each way to forget the check.
func TestForgottenLeakChecksAreSeen(t *testing.T) {
	const test, tag = "package p\n\nfunc TestIt(t *testing.T) {}\n", "//go:build integration\n\n"
	const good = "package p\n\nfunc TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }\n"
	for _, c := range []struct {
		name  string
		texts []string
		want  string
	}{
		{"it calls Run", []string{test, good}, ""},
		{"a library calls Run", []string{test, strings.Replace(good, "os.Exit(leaktest.Run(m))", "testscript.Main(leaktest.Checked{M: m}, nil)", 1)}, ""},
		{"all have the tag", []string{tag + test, tag + good}, ""},
		{"no TestMain", []string{test}, "no TestMain"},
		{"a method of that name", []string{test, strings.Replace(good, "func TestMain", "func (s suite) TestMain", 1)}, "no TestMain"},
		{"another Run", []string{test, strings.Replace(good, "leaktest.Run(m)", "m.Run()", 1)}, "does not use leaktest"},
		{"a comment alone", []string{test, strings.Replace(good, "leaktest.Run(m)", "m.Run() /* leaktest.Run(m) */", 1)}, "does not use leaktest"},
		{"one for each build", []string{test, tag + good, "//go:build !integration\n\n" + good}, ""},
		{"the first of two", []string{test, tag + strings.Replace(good, "leaktest.Run(m)", "m.Run()", 1), "//go:build !integration\n\n" + good}, "does not use leaktest"},
		{"TestMain has a tag after a comment", []string{test, "// With an engine.\n\n" + tag + good}, "build tag"},
		{"TestMain has a tag", []string{test, tag + good}, "build tag"},
	} {
		got := leaksUnseen(t, c.texts)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
