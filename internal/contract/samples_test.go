package contract

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the want files in testdata/contract")

const samplesDir = "../../testdata/contract"

// sample is a file of testdata/contract.
type sample struct {
	name string // without directory and ".json"
	file string
	data []byte
}

func samples(t testing.TB, kind string) []sample {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(samplesDir, kind, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no samples in testdata/contract/%s (error %v)", kind, err)
	}
	out := make([]sample, len(files))
	for i, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out[i] = sample{strings.TrimSuffix(filepath.Base(file), ".json"), file, data}
	}
	return out
}

// secretsInSamples are the values that the samples use in the place of secrets.
// None of them may be shown, wherever it was put.
func secretsInSamples() []string {
	return []string{
		"the-guests-own-secret", "the-registrys-secret", "another-secret-of-it", "hunter2hunter2", "the guests secret",
		"the registrys secret", "123456789012", "0123456789abcdefghij", "ssssssss", "the-guests-own-secr",
	}
}

func TestInvalidSamples(t *testing.T) {
	for _, s := range samples(t, "invalid") {
		t.Run(s.name, func(t *testing.T) {
			b, findings := Parse(s.data)
			if findings.Err() == nil {
				t.Fatalf("accepted as %+v", b)
			}
			if diff := diffBootstrap(Bootstrap{}, b); diff != "" {
				t.Errorf("a refused document gave a value:\n%s", diff)
			}
			got := findings.Format(filepath.Base(s.file))
			compareWant(t, strings.TrimSuffix(s.file, ".json")+".want", got)
			for _, secret := range secretsInSamples() {
				if strings.Contains(got, secret) || strings.Contains(findings.Err().Error(), secret) {
					t.Errorf("a secret is shown:\n%s", got)
				}
			}
		})
	}
}

func TestValidSamples(t *testing.T) {
	for _, s := range samples(t, "valid") {
		t.Run(s.name, func(t *testing.T) {
			b, findings := Parse(s.data)
			if err := findings.Err(); err != nil {
				t.Fatal(err)
			}
			compareWant(t, strings.TrimSuffix(s.file, ".json")+".findings", findings.Format(filepath.Base(s.file)))
			encoded, err := b.Encode()
			if err != nil {
				t.Fatal(err)
			}
			compareWant(t, strings.TrimSuffix(s.file, ".json")+".encoded", string(encoded))
			again, findings := Parse(encoded)
			if diff := diffBootstrap(b, again); diff != "" || findings.Err() != nil {
				t.Errorf("what was encoded reads back differently, findings %v:\n%s", findings.List, diff)
			}
		})
	}
}

// compareWant compares got with a want file; an empty got has none.
func compareWant(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if got == "" {
			_ = os.Remove(file) // it mostly does not exist
			return
		}
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil && (got != "" || !os.IsNotExist(err)) {
		t.Fatalf("%v; make it with -update and read it", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", filepath.Base(file), diff)
	}
}

// Every rule is there because some sample breaks it, and every sample is named
// after the rule it is about.
func TestEveryRuleHasASample(t *testing.T) {
	rules := declaredRules(t)
	elsewhere := []Rule{RuleReport, RulePreload} // of other documents, tested beside them
	hit := map[Rule]bool{}
	list := samples(t, "invalid")
	if len(list) < 40 {
		t.Errorf("only %d invalid samples", len(list))
	}
	for _, s := range list {
		_, findings := Parse(s.data)
		named := false
		for _, f := range findings.List {
			hit[f.Rule] = true
			named = named || strings.HasPrefix(s.name, string(f.Rule))
		}
		isRule := slices.ContainsFunc(rules, func(r Rule) bool { return strings.HasPrefix(s.name, string(r)) })
		if isRule && !named {
			t.Errorf("%s is named after a rule that it does not break: %v", s.name, findings.List)
		}
	}
	for _, rule := range rules {
		if !hit[rule] && !slices.Contains(elsewhere, rule) {
			t.Errorf("no sample breaks the rule %q", rule)
		}
	}
}

// declaredRules returns the values of all constants of type Rule.
func declaredRules(t *testing.T) []Rule {
	t.Helper()
	var rules []Rule
	for _, name := range []string{"finding.go", "../jsondoc/finding.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Rule") {
				return true
			}
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			rules = append(rules, Rule(text))
			return true
		})
	}
	if len(rules) < 20 {
		t.Fatalf("only %d rules found", len(rules))
	}
	return rules
}
