package guests_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/internal/contract"
)

// The directory of reports is removed while the daemon runs, and the first try to write
// its log again fails: what was acknowledged before and after it is not lost.
func TestAnotherTryAfterTheReportsWereRemoved(t *testing.T) {
	steps := contract.Steps()
	for name, c := range map[string]struct {
		then func(*testing.T, *guests.Store, func(number int))
		want []string
	}{
		"with a later report": {func(t *testing.T, daemon *guests.Store, _ func(int)) {
			t.Helper()
			send(t, daemon, sent{8200, stepReport("a", 3, steps[2])})
		}, []string{fmt.Sprint(steps[0], 1), fmt.Sprint(steps[2], 3)}},
		"at the end of the daemon": {func(t *testing.T, daemon *guests.Store, block func(int)) {
			t.Helper()
			block(3)
			if err := daemon.Close(); err != nil {
				t.Errorf("the end of the daemon: %v", err)
			}
		}, []string{fmt.Sprint(steps[0], 1)}},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t)
			mint(t, b.Store, 8200)
			daemon := b.another(t)
			send(t, daemon, sent{8200, stepReport("a", 1, steps[0])})
			reports := filepath.Join(b.state, guests.ReportsDir)
			if err := errors.Join(os.RemoveAll(reports), os.MkdirAll(filepath.Join(reports, "log"), 0o700)); err != nil {
				t.Fatal(err)
			}
			block := func(number int) { // the next log gets that name
				if err := os.WriteFile(filepath.Join(reports, "log", fmt.Sprintf("%020d.log", number)), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			block(2)
			if _, err := daemon.AddReport(t.Context(), 8200, stepReport("a", 2, steps[1])); err == nil {
				t.Fatal("a report that is in no log was acknowledged")
			}
			c.then(t, daemon, block)
			p, err := b.another(t).Progress(8200)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, step := range p.Steps {
				got = append(got, fmt.Sprint(step.Report.Step, step.Report.Sequence))
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("what another process reads (-want +got):\n%s", d)
			}
		})
	}
}
