package checks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/internal/fault"
)

func of(name string, found ...Finding) Check {
	return Check{Name: name, Look: func(context.Context) []Finding { return found }}
}

// One that hangs, also one that does not look at its context, costs neither the
// others nor more than the limit.
func TestAllChecksRunAlthoughOneHangs(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	list := []Check{
		{Name: "deaf", Look: func(context.Context) []Finding { <-release; return nil }},
		{Name: "slow", Look: func(ctx context.Context) []Finding { <-ctx.Done(); return []Finding{Fine("in time")} }},
		{Name: "panics", Look: func(context.Context) []Finding { panic("x") }},
		{Name: "silent", Look: func(context.Context) []Finding { return nil }},
		of("good", Fine("yes")),
	}
	began := time.Now()
	r := Run(t.Context(), list, 300*time.Millisecond, nil)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
	var got []string
	for _, row := range r.Rows {
		got = append(got, row.Check+" "+string(row.Result))
	}
	if diff := cmp.Diff([]string{"deaf unknown", "slow ok", "panics unknown", "silent unknown", "good ok"}, got); diff != "" {
		t.Error(diff)
	}
	if fault.Of(r.Err()) != fault.NotReady || !strings.Contains(fmt.Sprint(r.Err()), "deaf, panics, silent") {
		t.Errorf("error %v", r.Err())
	}
}

func TestResultAndKind(t *testing.T) {
	busy, invalid, other := Fail(fault.NotReady, "r", "busy"), Fail(fault.Invalid, "r", "invalid"), Fail(fault.Mismatch, "r", "pin")
	for name, c := range map[string]struct {
		list   []Check
		result Result
		kind   fault.Kind
	}{
		"nothing": {nil, OK, fault.None}, "fine": {[]Check{of("a", Fine("x"))}, OK, fault.None},
		"warning": {[]Check{of("a", Fine("x"), Warn("r", "w"))}, Warning, fault.None},
		"unknown": {[]Check{of("a", Warn("r", "w")), of("b", NotKnown("r", "u"))}, Unknown, fault.NotReady},
		"busy":    {[]Check{of("a", busy), of("b", NotKnown("r", "u"))}, Failed, fault.NotReady},
		"worst":   {[]Check{of("a", busy), of("b", other), of("c", busy)}, Failed, fault.Mismatch},
		"input":   {[]Check{of("a", busy, other), of("b", invalid)}, Failed, fault.Invalid},
	} {
		r := Run(t.Context(), c.list, time.Minute, nil)
		if got := fault.Of(r.Err()); r.Result != c.result || got != c.kind {
			t.Errorf("%s: %s, %v, want %s, %v", name, r.Result, got, c.result, c.kind)
		}
	}
}

func TestTextAndJSONAreHarmless(t *testing.T) {
	long := strings.Repeat("x", 5000)
	many := make([]Finding, 0, 30)
	for i := range 29 {
		many = append(many, Fine("%d", i))
	}
	many = append(many, Fail(fault.Failed, "do\nthis", "guest \x1b[31m said s3cret\nand more"))
	r := Run(t.Context(), []Check{of("first", many...), of("b", Warn(long, "%s", long))}, time.Minute, func(s string) string { return strings.ReplaceAll(s, "s3cret", "[redacted]") })
	if len(r.Rows) != maxFindings+1 || r.Rows[0].Result != Failed {
		t.Errorf("%d rows, the first %+v; want the failure first and %d of the others", len(r.Rows), r.Rows[0], maxFindings)
	}
	data, err := r.JSON()
	var back Report
	if err != nil || json.Unmarshal(data, &back) != nil || back.Result != Failed {
		t.Errorf("JSON %v: %s", err, data)
	}
	for _, text := range []string{r.Text(), string(data)} {
		if strings.Contains(text, "\x1b") || strings.Contains(text, "s3cret") || len(text) > 20_000 || !strings.Contains(text, "10 more") {
			t.Errorf("text of %d bytes: %.500s", len(text), text)
		}
	}
	if !strings.Contains(r.Text(), "remedy: do\n                this\n") {
		t.Errorf("the remedy is not below its finding:\n%.600s", r.Text())
	}
}

func TestFromErrorKeepsHints(t *testing.T) {
	joined := errors.Join(fault.WrapHint(fault.Mismatch, errors.New("a"), "h"), errors.New("b"))
	want := []Finding{{Failed, "a", "h", fault.Mismatch}, {Failed, "b", "else", fault.Failed}}
	if diff := cmp.Diff(want, FromError(joined, "else")); diff != "" {
		t.Error(diff)
	}
	if got := FromError(nil, "x"); got != nil {
		t.Errorf("nil gives %v", got)
	}
}

func ExampleRun() {
	r := Run(context.Background(), []Check{
		{Name: "clock", Look: func(context.Context) []Finding { return []Finding{Fine("synchronised")} }},
		{Name: "disk", Look: func(context.Context) []Finding { return []Finding{Warn("free some space", "9 %% are free")} }},
	}, time.Minute, nil)
	fmt.Print(r.Text())
	// Output:
	// ok       clock  synchronised
	// warning  disk   9 % are free
	//                 remedy: free some space
	// 1 warning, 1 ok
}
