package verify_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/golden/internal/rules"
	"github.com/felhom/felhom-golden/golden/internal/seal"
	"github.com/felhom/felhom-golden/golden/internal/verify"
)

// sampleOf returns a path that the pattern matches.
func sampleOf(pattern string) string {
	return strings.NewReplacer("[0-9]", "7", "[op]", "p", "*", "x").Replace(pattern)
}

// forbidden returns files that the rule forbids by its paths.
func forbidden(r rules.Rule) []string {
	var names []string
	for _, pattern := range r.Absent {
		names = append(names, sampleOf(pattern), sampleOf(pattern)+"/below/x")
	}
	for _, dir := range slices.Concat(r.Empty, r.DirsOnly) {
		names = append(names, sampleOf(dir)+"/x", sampleOf(dir)+"/below/.x")
	}
	for _, pattern := range r.Leftovers {
		for _, dir := range r.Trees {
			names = append(names, dir+"/below/"+sampleOf(pattern))
		}
	}
	return append(names, r.Cut...)
}

// TestSealRemovesWhatVerifyForbids plants a file for each path of each rule,
// with and without a member for the directory that the path is: verify reports
// it, and seal removes it or its content.
func TestSealRemovesWhatVerifyForbids(t *testing.T) {
	total := 0
	for _, r := range rules.All() {
		for _, name := range forbidden(r) {
			total++
			s := good()
			s.put(name, 0o644, "x")
			report := s.verify(t, verify.Options{Enable: []string{r.ID}})
			if !slices.ContainsFunc(report.Findings, func(f verify.Finding) bool { return f.Path == "/"+name }) {
				t.Errorf("rule %s: verify does not report %s: %+v", r.ID, name, report.Findings)
			}
			root := t.TempDir()
			for _, dir := range []string{"etc", "usr", "var", filepath.Dir(name)} {
				if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(root, name), []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := seal.Apply(t.Context(), root, seal.Options{Enable: []string{r.ID}}); err != nil {
				t.Fatal(err)
			}
			if data, err := os.ReadFile(filepath.Join(root, name)); len(data) > 0 || err == nil && !slices.Contains(r.Cut, name) {
				t.Errorf("rule %s: seal leaves %s", r.ID, name)
			}
		}
	}
	if total < 200 {
		t.Errorf("%d paths, want at least 200: are they still in the rows?", total)
	}
}
