package lan_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = "../../.."

// threats are the rows of the table of threats. Each is the name of a subtest of
// TestThreats in one or more packages.
var threats = []string{
	"rogue host answers on the address",
	"guest B uses guest A's token",
	"LAN host with stolen token",
	"clone or rollback keeps a token",
	"bootstrap token read by an earlier party",
	"state file torn by power cut",
	"image swapped upstream",
	"who pulled what",
	"admin credential reaches a guest",
	"token in logs, argv, config.json, core",
	"guest reads another guest's storage",
	"timing or existence oracle",
	"handshake or connection flood by one guest",
	"slow header/body, huge header",
	"lock-out of A by B's failures",
	"no quorum",
	"firewall switched on, address changed",
	"push or delete through the proxy",
	"path tricks to other repositories",
	"inner container gets a session",
	"agent bug = root on the host",
}

// tests is what the tests of the repository are called.
type tests struct {
	names   map[string]bool
	threats map[string][]string // subtests of TestThreats, by the directories that have them
}

func readTests(t *testing.T) tests {
	t.Helper()
	out := tests{map[string]bool{}, map[string][]string{}}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil {
				continue
			}
			out.names[f.Name.Name] = true
			if f.Name.Name != "TestThreats" {
				continue
			}
			for _, statement := range f.Body.List {
				if name := subtest(statement); name != "" {
					out.threats[name] = append(out.threats[name], filepath.ToSlash(dir))
				}
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// subtest returns the name of a subtest that a statement runs, "" if it runs none.
func subtest(statement ast.Stmt) string {
	e, ok := statement.(*ast.ExprStmt)
	if !ok {
		return ""
	}
	call, ok := e.X.(*ast.CallExpr)
	if !ok || len(call.Args) != 2 {
		return ""
	}
	if f, ok := call.Fun.(*ast.SelectorExpr); !ok || f.Sel.Name != "Run" {
		return ""
	}
	literal, ok := call.Args[0].(*ast.BasicLit)
	if !ok {
		return ""
	}
	name, err := strconv.Unquote(literal.Value)
	if err != nil {
		return ""
	}
	return name
}

// A promise whose test was renamed or removed is no longer proved.
func TestTestsThatPagesNameExist(t *testing.T) {
	all := readTests(t)
	for page, least := range map[string]int{"security.md": 20, "reliability.md": 8} {
		text, err := os.ReadFile(root + "/docs/" + page)
		if err != nil {
			t.Fatal(err)
		}
		named := regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(string(text), -1)
		if len(named) < least {
			t.Errorf("docs/%s names %d tests, want %d or more", page, len(named), least)
		}
		for _, name := range named {
			if !all.names[name] {
				t.Errorf("docs/%s names %s, and that test does not exist", page, name)
			}
		}
		for _, found := range regexp.MustCompile("`TestThreats/([^`]+)`").FindAllStringSubmatch(string(text), -1) {
			if len(all.threats[found[1]]) == 0 {
				t.Errorf("docs/%s names the subtest %q of TestThreats, and there is none", page, found[1])
			}
		}
	}
}

// Each row of the table of threats names the packages that have its test, all of
// them, and no row is missing.
func TestEachThreatHasItsTest(t *testing.T) {
	all := readTests(t)
	left := slices.Clone(threats)
	for _, row := range table(t, root+"/docs/security.md", "| | threat |") {
		cells := strings.Split(strings.Trim(row, "| "), " | ")
		if len(cells) != 4 {
			t.Errorf("the row %q has %d columns, want 4", row, len(cells))
			continue
		}
		name, got := cells[1], strings.Split(cells[3], ", ")
		i := slices.Index(left, name)
		if i < 0 {
			t.Errorf("the page has the row %q, which is not a threat, or is there twice", name)
			continue
		}
		left = slices.Delete(left, i, i+1)
		var want []string
		for _, dir := range all.threats[name] {
			want = append(want, "`"+dir+"`")
		}
		slices.Sort(got)
		slices.Sort(want)
		if len(want) == 0 || !slices.Equal(got, want) {
			t.Errorf("%q: the page names %v, and TestThreats has it in %v", name, got, want)
		}
	}
	if len(left) > 0 {
		t.Errorf("the page has no row for %q", left)
	}
	for _, name := range slices.Sorted(maps.Keys(all.threats)) {
		if !slices.Contains(threats, name) && !slices.Contains(all.threats[name], "internal/e2e/lan") {
			t.Errorf("TestThreats of %v has %q, which is not a row", all.threats[name], name)
		}
	}
}
