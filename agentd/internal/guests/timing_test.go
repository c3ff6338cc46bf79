package guests_test

import (
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/token"
)

// timingOracle: how long a refusal takes shows neither whether a guest exists
// nor how many tokens it has had. The medians of many short series, taken in turn,
// are compared, in processor time of this thread: a busy machine does not count.
func timingOracle(t *testing.T) {
	b := openOn(t, t.TempDir())
	mint(t, b.Store, 8200)
	for range 40 { // as many ended tokens as a record keeps
		use(t, b.Store, mint(t, b.Store, 8200))
	}
	mint(t, b.Store, 8201)
	tokens := map[string]token.Token{"no such guest": token.Mint(8299), "a guest with one token": token.Mint(8201), "a guest that had many": token.Mint(8200)}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const series, calls = 101, 50
	took := map[string][]time.Duration{}
	for range series {
		for name, tok := range tokens {
			began := threadTime(t)
			for range calls {
				if _, err := b.Authenticate(tok); !errors.Is(err, guests.ErrUnknownToken) {
					t.Fatal(err)
				}
			}
			took[name] = append(took[name], threadTime(t)-began)
		}
	}
	var medians []time.Duration
	for name := range tokens {
		slices.Sort(took[name])
		medians = append(medians, took[name][series/2])
	}
	least, most := slices.Min(medians), slices.Max(medians)
	t.Logf("medians of %d calls: %v", calls, medians)
	if most > least+least/2 {
		t.Errorf("the medians of refusals are %v: want none 1.5 times another", medians)
	}
}

func threadTime(t *testing.T) time.Duration {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
		t.Fatal(err)
	}
	return time.Duration(now.Nano())
}
