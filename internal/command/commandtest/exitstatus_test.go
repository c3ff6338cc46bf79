package commandtest

import (
	"os"
	"strings"
	"testing"
)

func TestExitStatus(t *testing.T) {
	const page = "# Exit codes\n\nIntroduction.\n\n| code | class | meaning | try again? |\n|---|---|---|---|\n" +
		"| 0 | `ok` | done | – |\n| 5 | `not-ready` | the `engine` is not ready | yes |\n\nA crash exits\nwith 2.\n\n## What is printed\n\nMore.\n"
	const want = ".SH EXIT STATUS\n.TP\n.B 0\nok: done.\n.TP\n.B 5\nnot-ready: the engine is not ready.\nTry again: yes.\n.PP\nA crash exits\nwith 2.\n"
	if got, err := exitStatus(page); got != want || err != nil {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if _, err := exitStatus("# Exit codes\n\nNone.\n"); err == nil {
		t.Error("a page without a table gives a section")
	}
}

// Each code of the real page is in the section.
func TestExitStatusOfThePage(t *testing.T) {
	page, err := os.ReadFile("../../../docs/exit-codes.md")
	if err != nil {
		t.Fatal(err)
	}
	got, err := exitStatus(string(page))
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range []string{"0", "1", "2", "3", "4", "5", "130"} {
		if !strings.Contains(got, ".B "+code+"\n") {
			t.Errorf("there is no exit status %s:\n%s", code, got)
		}
	}
}
