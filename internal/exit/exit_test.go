package exit_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/exit"
	"github.com/felhom/felhom-golden/internal/fault"
)

// Each class of a kind of failure is the class of its exit code in
// docs/exit-codes.md: reports and exit codes never disagree.
func TestOfAgreesWithTheClass(t *testing.T) {
	classes := documented(t)
	for kind := fault.None; kind <= fault.Interrupted; kind++ {
		if got := classes[int(exit.OfKind(kind))]; got != kind.Class() {
			t.Errorf("exit code %d of kind %q is documented as %q, and its class is %q", exit.OfKind(kind), kind, got, kind.Class())
		}
	}
	if got := exit.OfKind(fault.Kind(99)); got != exit.Failed {
		t.Errorf("exit code %d of an unknown kind, want %d", got, exit.Failed)
	}
}

func TestWithCodePassesOn(t *testing.T) {
	err := exit.WithCode(7, fault.WrapHint(fault.Invalid, errors.New("cause"), "look"))
	if got := exit.Of(fmt.Errorf("run: %w", err)); got != 7 {
		t.Errorf("exit code %d, want 7", got)
	}
	if got := fault.HintOf(err); got != "look" {
		t.Errorf("hint %q, want look", got)
	}
	if exit.WithCode(7, nil) != nil {
		t.Error("a nil error became one")
	}
}

func TestPrint(t *testing.T) {
	inner := fault.WrapHint(fault.NotReady, errors.New("no answer\nfrom the engine"), "start it:\n  systemctl start docker")
	err := fault.Wrap(fault.Failed, fmt.Errorf("apply: %w", inner))
	var out bytes.Buffer
	code := exit.Print(&out, "prog", err)
	want := "prog: apply: no answer\nprog: from the engine\nprog: hint: start it:\nprog: hint:   systemctl start docker\n"
	if out.String() != want || code != exit.Failed {
		t.Errorf("code %v, printed\n%s\nwant\n%s", code, out.String(), want)
	}
	out.Reset()
	if code := exit.Print(&out, "prog", nil); code != exit.OK || out.Len() != 0 {
		t.Errorf("nil error: code %v, printed %q", code, out.String())
	}
}

// documented returns the classes by exit code of docs/exit-codes.md, which
// scripts and units are written against.
func documented(t *testing.T) map[int]string {
	t.Helper()
	doc, err := os.ReadFile("../../docs/exit-codes.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| (\\d+) \\| `([a-z-]+)` \\|").FindAllStringSubmatch(string(doc), -1)
	classes := map[int]string{}
	for _, row := range rows {
		code, err := strconv.Atoi(row[1])
		if err != nil {
			t.Fatal(err)
		}
		classes[code] = row[2]
	}
	if len(classes) != 7 {
		t.Fatalf("%d exit codes in the table of docs/exit-codes.md, want 7", len(classes))
	}
	return classes
}

func TestPrintIsHarmless(t *testing.T) {
	var out strings.Builder
	exit.Print(&out, "p", fault.WrapHint(fault.Failed, errors.New("pull \x1b[2J\u202ex\r\n\ty\xff"), "ask \u009bz"))
	if want := `p: pull \x1b[2J\u202ex` + "\np: \ty" + `\xff` + "\np: hint: ask " + `\u009bz` + "\n"; out.String() != want {
		t.Errorf("want %q, got %q", want, out.String())
	}
}
