package record

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestDocumentedResult holds the example in docs/bootstrapper.md to the form.
func TestDocumentedResult(t *testing.T) {
	page, err := os.ReadFile("../../../docs/bootstrapper.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## The result file\n")
	_, block, _ := strings.Cut(section, "```json\n")
	block, _, ok := strings.Cut(block, "```")
	if !ok {
		t.Fatal("the page has no JSON block below \"The result file\"")
	}
	dec := json.NewDecoder(strings.NewReader(block))
	dec.DisallowUnknownFields()
	var r Result
	if err := dec.Decode(&r); err != nil {
		t.Fatal(err)
	}
	if r.Version != Version || len(r.Steps) == 0 {
		t.Errorf("version %d with %d steps, want version %d with at least one", r.Version, len(r.Steps), Version)
	}
	if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(r.Container) {
		t.Errorf("container is %q, want the full id of 64 hex digits", r.Container)
	}
}
