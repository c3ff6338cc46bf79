package commandtest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// WantQuoted holds docs/troubleshooting.md and a program together: each line of the first block below the heading must be a line of
// said, what the program printed. "…" on the page stands for any text. root is the repository's.
func WantQuoted(t *testing.T, root, heading, said string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "docs/troubleshooting.md"))
	if err != nil {
		t.Fatal(err)
	}
	lines := quoted(string(data), heading)
	if len(lines) == 0 {
		t.Fatalf("docs/troubleshooting.md quotes no message below %q", heading)
	}
	for _, line := range lines {
		if !hasLine(said, line) {
			t.Errorf("docs/troubleshooting.md, %s: want the line\n%s\ngot\n%s", heading, line, said)
		}
	}
}

func quoted(page, heading string) []string {
	_, below, _ := strings.Cut(page, "\n"+heading+"\n")
	below, _, _ = strings.Cut(below, "\n### ")
	_, block, _ := strings.Cut(below, "\n```text\n")
	block, _, isClosed := strings.Cut(block, "\n```\n")
	if !isClosed || block == "" {
		return nil
	}
	return strings.Split(block, "\n")
}

// hasLine reports whether a line of text is want, or ends with it.
func hasLine(text, want string) bool {
	parts := strings.Split(want, "…")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile(`(?m)(^|\W)` + strings.Join(parts, ".+") + `$`).MatchString(text)
}
