package bootstrap

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/fault"
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
	if fault.Of(err) != fault.Failed {
		t.Errorf("parse gave class %v; its caller knows the class", fault.Of(err))
	}
}

func TestSpecFileErrorsHoldNoValue(t *testing.T) {
	const secret = "hunter2-hunter2"
	for _, test := range []struct{ name, text, want string }{
		{"scalar for a map", "memory: 512m\nenvironment: " + secret + "\n", "line 2: wanted map[string]string, found something else"},
		{"list in a map", "environment:\n  A: [" + secret + "]\n", "line 2: wanted string, found something else"},
		{"tag", "environment: !" + secret + " x\n", "line 1: wanted map[string]string"},
		{"alias", "environment: {A: *" + secret + "}\n", "unknown anchor"},
		{"two mistakes", "ports: " + secret + "\nvolumes: " + secret + "\n", "something else; line 2: "},
		{"unknown key", "portz: []\n", "line 1: field portz not found"},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "spec.yaml")
			if err := os.WriteFile(file, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := specBuilder{name: "c", root: "/", file: file}.build()
			if fault.Of(err) != fault.Invalid {
				t.Fatalf("error %v, want it refused", err)
			}
			if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q, want one line with %q and no value", err, test.want)
			}
		})
	}
}

func TestEnvironmentIsScrubbed(t *testing.T) {
	scrub := scrubber(contract.Bootstrap{}, []string{"PASSWORD=eight888", "DEBUG=true"})
	if got, want := scrub("it is true: eight888"), "it is true: [redacted]"; got != want {
		t.Errorf("scrubbed %q, want %q", got, want)
	}
}
