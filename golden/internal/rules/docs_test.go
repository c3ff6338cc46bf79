package rules_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/golden/internal/rules"
)

var update = flag.Bool("update", false, "write the table of rules into docs/golden.md")

const (
	docs  = "../../../docs/golden.md"
	begin = "<!-- rules: begin; written by go test ./golden/internal/rules -update -->\n"
	end   = "<!-- rules: end -->\n"
)

func table() string {
	var b strings.Builder
	b.WriteString("\n| rule | severity | why | what verify wants | what seal does |\n|---|---|---|---|---|\n")
	cell := strings.NewReplacer("|", `\|`, "*", `\*`, "<", "&lt;", "_", `\_`)
	for _, r := range rules.All() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", r.ID, r.Severity, cell.Replace(r.Reason), cell.Replace(r.Check), cell.Replace(r.Seal))
	}
	b.WriteString("\n")
	return b.String()
}

// TestDocsHaveTheTable compares the table in the docs with the rules.
func TestDocsHaveTheTable(t *testing.T) {
	data, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), begin)
	got, after, complete := strings.Cut(rest, end)
	if !ok || !complete {
		t.Fatalf("%s: want the lines %q and %q", docs, begin, end)
	}
	switch want := table(); {
	case got == want:
	case *update:
		if err := os.WriteFile(docs, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s: the table of rules is not that of the code: go test ./golden/internal/rules -update", docs)
	}
}
