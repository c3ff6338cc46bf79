package bootstrap

import (
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/exit"
)

func TestSpecNamesAllFindingsAtOnceInOneLine(t *testing.T) {
	_, err := specBuilder{name: "c", root: "/"}.parse(specFile{
		Ports:       []string{"nonsense:port"},
		Volumes:     []string{"a:b:c:d"},
		Environment: map[string]string{"B=": "2", "A=": "1"},
		ExtraHosts:  []string{"alone"},
		Memory:      "1k",
	})
	if err == nil {
		t.Fatal("a spec with five mistakes was accepted")
	}
	text := err.Error()
	for _, want := range []string{"port", "a:b:c:d", `"A=" is no name of a variable; environment: "B="`, `extra host "alone"`, `memory "1k": the least is 6m`} {
		if !strings.Contains(text, want) {
			t.Errorf("error %q lacks %q", text, want)
		}
	}
	if strings.Contains(text, "\n") {
		t.Errorf("error has more than one line: %q", text)
	}
	if exit.Of(err) != exit.Failed {
		t.Errorf("parse gave class %v; its caller knows the class", exit.Of(err))
	}
}
