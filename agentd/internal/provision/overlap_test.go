package provision_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/contract"
)

// A change that fails in the guest leaves the controller running with the token of before:
// it is valid until the new one is used, whatever limits.token_overlap is.
func TestAChangeKeepsTheTokenInUse(t *testing.T) {
	const day = 24 * time.Hour
	tests := map[string]struct {
		expireAfter   time.Duration
		before, after contract.Profile
		works, ends   time.Duration // when the token of before is asked for; 0: never
	}{
		"a controller that keeps it":   {works: 1000 * day},
		"with an age at which it ends": {expireAfter: 60 * day, works: 59 * day, ends: 61 * day},
		"profile plain":                {before: contract.ProfilePlain, after: contract.ProfilePlain, works: time.Minute, ends: 2 * time.Hour},
		"from plain":                   {before: contract.ProfilePlain, works: 1000 * day},
		"to plain":                     {after: contract.ProfilePlain, works: 1000 * day},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.ExpireAfter = test.expireAfter
			profile, bootstrap := test.before, r.Bootstrap
			r.Bootstrap = func(vmid int, asked provision.Asked) (contract.Bootstrap, error) {
				b, err := bootstrap(vmid, asked)
				b.Profile = profile
				return b, err
			}
			if _, err := provision.New(r.Options).Provision(t.Context(), job()); err != nil {
				t.Fatal(err)
			}
			before, _ := r.inMount(t)
			if err := r.store.MarkUsed(t.Context(), before); err != nil {
				t.Fatal(err)
			}
			profile = test.after
			change := job()
			change.Image = "registry.example/controller:missing"
			if _, err := provision.New(r.Options).Provision(t.Context(), change); err != nil {
				t.Fatal(err)
			}
			after, _ := r.inMount(t)
			if before == after {
				t.Fatal("the change gave the guest no token")
			}
			r.assertTokenAt(t, before, test.works, true)
			if test.ends != 0 {
				r.assertTokenAt(t, before, test.ends, false)
			}
			if err := r.store.MarkUsed(t.Context(), after); err != nil {
				t.Fatal(err)
			}
			r.isReplaced(t, before)
		})
	}
}

// assertTokenAt asks a store whose clock is that much later.
func (r *rig) assertTokenAt(t *testing.T, tok token.Token, later time.Duration, isValid bool) {
	t.Helper()
	s, err := guests.Open(filepath.Join(r.dir, "state/guests"), filepath.Join(r.dir, "state"), func() time.Time { return time.Now().Add(later) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Authenticate(tok); (err == nil) != isValid {
		t.Errorf("the token of before after %v: %v, want valid %v", later, err, isValid)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
