package archtest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// entering are words of a command line that lead into a guest: arguments of
// pct, and programs. They are looked for as whole string literals.
var entering = map[string]string{
	"exec": "pct exec runs a program in a guest", "push": "pct push writes into a guest",
	"enter": "pct enter opens a shell in a guest",
}

// programs are words that no string of the product holds at all.
var programs = []string{"lxc-attach", "nsenter", "lxc-console", "lxc-execute", "pct exec", "pct push", "pct enter"}

// The host never executes anything inside a guest: this is the rule that the
// whole design rests on, so that the words for it do not occur.
func TestNothingEntersAGuest(t *testing.T) {
	own, _ := load(t)
	checked := 0
	for _, p := range own {
		if match(module+"internal/e2e/...", p.ImportPath) {
			continue // looks into guests to judge them
		}
		drives := match(module+"internal/driver/...", p.ImportPath) || match(module+"agentd/...", p.ImportPath)
		for _, name := range p.GoFiles {
			path := filepath.Join(p.Dir, name)
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			checked++
			ast.Inspect(file, func(n ast.Node) bool {
				lit, ok := n.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					return true
				}
				text, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				if why := entersGuest(text, drives); why != "" {
					t.Errorf("%s: %q: %s", files.Position(lit.Pos()), text, why)
				}
				return true
			})
		}
	}
	if checked == 0 {
		t.Error("no file was looked at")
	}
}

// entersGuest returns why the product must not have a string, or "". The short
// words are banned where hypervisors are driven; elsewhere they are commands
// and image verbs.
func entersGuest(text string, drives bool) string {
	if why := entering[text]; why != "" && drives {
		return why
	}
	for _, program := range programs {
		if strings.Contains(text, program) {
			return program + " leads into a guest"
		}
	}
	return ""
}

// The rule says no to each of its words.
func TestEnteringWordsAreSeen(t *testing.T) {
	for word := range entering {
		if entersGuest(word, true) == "" {
			t.Errorf("%q passes", word)
		}
	}
	for _, text := range append(programs, "/usr/bin/nsenter -t 1", "sh -c 'lxc-attach -n 8200'") {
		if entersGuest(text, false) == "" {
			t.Errorf("%q passes", text)
		}
	}
	for _, text := range []string{"set", "executable", "pushed"} {
		if why := entersGuest(text, true); why != "" {
			t.Errorf("%q is refused: %s", text, why)
		}
	}
}
