package contract

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const docsFile = "../../docs/contract.md"

// The JSON examples are what people copy, so they are parsed without findings.
func TestDocsExamples(t *testing.T) {
	text := readDocs(t)
	blocks := regexp.MustCompile("(?ms)^```json(.*?)\n(.*?)^```$").FindAllStringSubmatch(text, -1)
	seen := map[string]int{}
	for _, block := range blocks {
		kind, data := strings.TrimSpace(block[1]), []byte(block[2])
		seen[kind]++
		switch kind {
		case "bootstrap":
			b, findings := Parse(data)
			if len(findings.List) != 0 {
				t.Errorf("example has findings:\n%s", findings.Format("contract.md"))
				continue
			}
			if _, err := b.Encode(); err != nil {
				t.Error(err)
			}
		case "preload":
			if _, err := ParsePreload(data); err != nil {
				t.Error(err)
			}
		default:
			t.Errorf("a JSON example is of no known kind %q", kind)
		}
	}
	if seen["bootstrap"] != 3 || seen["preload"] != 1 {
		t.Errorf("got examples %v, want 3 of bootstrap and 1 of preload", seen)
	}
}

// The printed finding in the page is what Format prints.
func TestDocsFinding(t *testing.T) {
	block := regexp.MustCompile("(?ms)^```text\n(.*?)^```$").FindStringSubmatch(readDocs(t))
	if block == nil {
		t.Fatal("the page shows no finding")
	}
	for _, s := range samples(t, "invalid") {
		if s.name == "endpoint-slash" {
			_, findings := Parse(s.data)
			if got := findings.Format("bootstrap.json"); got != block[1] {
				t.Errorf("the page shows\n%s, Format prints\n%s", block[1], got)
			}
			return
		}
	}
	t.Fatal("the sample endpoint-slash is gone")
}

// The tables name every key and every rule, and nothing else.
func TestDocsTables(t *testing.T) {
	text := readDocs(t)
	keys, rules := tableRows(t, text, "## Keys"), tableRows(t, text, "## What is refused")

	want := bootstrapKeys()
	for _, key := range registryKeys() {
		want = append(want, keyRegistry+"."+key)
	}
	for _, key := range containerKeys() {
		want = append(want, keyContainer+"."+key)
	}
	compareSets(t, "key", want, keys)

	want = nil
	for _, rule := range declaredRules(t) {
		if rule != RuleReport && rule != RulePreload { // named below the table
			want = append(want, string(rule))
		}
	}
	compareSets(t, "rule", want, rules)
}

// tableRows returns the first cells of the first table after a heading.
func tableRows(t *testing.T, text, heading string) []string {
	t.Helper()
	_, section, found := strings.Cut(text, "\n"+heading+"\n")
	if !found {
		t.Fatalf("no heading %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var cells []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(section, -1) {
		cells = append(cells, row[1])
	}
	if len(cells) == 0 {
		t.Fatalf("no table under %q", heading)
	}
	return cells
}

func compareSets(t *testing.T, what string, want, got []string) {
	t.Helper()
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("the page does not name the %s %q", what, w)
		}
	}
	for i, g := range got {
		if !slices.Contains(want, g) || slices.Contains(got[:i], g) {
			t.Errorf("the page names the %s %q, which does not exist or is there twice", what, g)
		}
	}
}

func readDocs(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
