package main

import (
	"flag"
	"io"
	"os"
	"regexp"
	"testing"

	"github.com/felhom/felhom-golden/golden/internal/recipe"
	"github.com/felhom/felhom-golden/internal/command"
	"github.com/felhom/felhom-golden/internal/command/commandtest"
)

var update = flag.Bool("update", false, "write the manual page and the completions")

// The manual page and the completions are what the command line gives: "make docs" writes them.
func TestDocuments(t *testing.T) {
	commandtest.Documents(t, "..", *update, func(more string) map[string]string {
		return command.Documents(newApp(stdio{out: io.Discard, err: io.Discard}), 1, more)
	})
}

// The recipes that pages have you write are accepted.
func TestRecipesOfPages(t *testing.T) {
	for _, name := range []string{"../docs/quickstart.md", "../docs/your-image.md"} {
		page, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		written := regexp.MustCompile(`(?s)cat > golden.yaml <<'END'\n(.*?) *END\n`).FindSubmatch(page)
		if written == nil {
			t.Fatalf("%s writes no golden.yaml", name)
		}
		if _, err := recipe.Parse(name, written[1]); err != nil {
			t.Errorf("%s: %v\n%s", name, err, written[1])
		}
	}
}
