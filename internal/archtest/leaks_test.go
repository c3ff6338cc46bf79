package archtest_test

import (
	"go/ast"
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
		t.Errorf("%d packages with tests: this test does not find them", withTests)
	}
	for path := range unchecked {
		if !isOwn(own, path) {
			t.Errorf("%s is an exception, and there is no such package", path)
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
	why, hasUntagged := "it has no TestMain", false
	mainIsTagged := false
	for _, text := range texts {
		file, err := parser.ParseFile(token.NewFileSet(), "", text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		isTagged := strings.HasPrefix(text, "//go:build ")
		hasUntagged = hasUntagged || !isTagged
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil || f.Name.Name != "TestMain" {
				continue
			}
			mainIsTagged = isTagged
			why = "the file of its TestMain does not use leaktest"
			if usesLeaktest(file) {
				why = ""
			}
		}
	}
	if why == "" && mainIsTagged && hasUntagged {
		return "its TestMain has a build tag that not all of its tests have"
	}
	return why
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

// The rule says no to each way of forgetting it.
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
		{"TestMain has a tag", []string{test, tag + good}, "build tag"},
	} {
		got := leaksUnseen(t, c.texts)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
