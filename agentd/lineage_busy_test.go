package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/felhom/felhom-golden/agentd/internal/audit"
	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/contract"
)

// A guest is rolled back while a command has it, as "guest attach" that waits for
// the hypervisor: its tokens end at once all the same, and when the command is over
// it gets a new one.
func TestARollbackBesideACommand(t *testing.T) {
	t.Parallel()
	a := newAncestor(t)
	var unlock func() error
	until(t, a.bed, "the guest can be claimed", func() (isDone bool) { // the daemon has it for moments
		var err error
		unlock, err = provision.Claim(t.Context(), filepath.Join(a.dir, "state"), 8200)
		return err == nil
	})
	a.conf(t, "8200", "0a", "parent: first\n")
	a.untilEnded(t)
	a.untilAudited(t, "guest-rolled-back")
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	a.ask(t, a.untilRenewed(t), http.StatusOK)
}

// The mount is damaged, so that no new token can be written into it: those of before
// end at once, list and doctor say so, and who writes the mount again gives the guest
// a new one.
func TestARollbackBesideADamagedMount(t *testing.T) {
	t.Parallel()
	a := newAncestor(t)
	file := filepath.Join(a.dir, "mounts/8200/bootstrap.json")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	a.conf(t, "8200", "0a", "parent: first\n")
	a.untilEnded(t)
	list := a.command(t, "guest", "list")
	for _, want := range []string{"its config mount is damaged", "its tokens have ended", "felhom-agentd guest rotate 8200"} {
		if !strings.Contains(list, want) {
			t.Errorf("guest list does not have %q:\n%s", want, list)
		}
	}
	if strings.Contains(list, "revoked") {
		t.Errorf("no command revoked a token:\n%s", list)
	}
	var stdout, stderr bytes.Buffer
	run(t.Context(), []string{program, "--config", a.config, "doctor"}, &stdout, &stderr)
	if !strings.Contains(stdout.String(), "guest 8200: its bootstrap.json is not valid") {
		t.Errorf("doctor:\n%s%s", stdout.String(), stderr.String())
	}
	a.command(t, "guest", "rotate", "8200")
	fresh := a.mounted(t, "8200")
	a.ask(t, fresh, http.StatusOK)
	a.ask(t, a.old, http.StatusUnauthorized)
	if list := a.command(t, "guest", "list"); strings.Contains(list, "damaged") {
		t.Errorf("guest list:\n%s", list)
	}
}

// The same, if the file comes back as it was: the daemon itself gives the guest a
// new token.
func TestARepairedMountGetsAToken(t *testing.T) {
	t.Parallel()
	a := newAncestor(t)
	putBack := a.takeBootstrap(t)
	a.conf(t, "8200", "0a", "parent: first\n")
	a.untilEnded(t)
	putBack()
	a.ask(t, a.untilRenewed(t), http.StatusOK)
	a.ask(t, a.old, http.StatusUnauthorized)
}

// A mount that is damaged is looked at again soon. A token that was made and cannot be
// written is not made again every few seconds: each time has lines in the audit log,
// which would remove those before them.
func TestWhenAnOwedTokenIsTriedAgain(t *testing.T) {
	b := newBed(t)
	b.add(t, "8200")
	cfg, err := loadConfig(b.config)
	if err != nil {
		t.Fatal(err)
	}
	store := b.store(t)
	h, err := openHost(t.Context(), cfg, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	k := newKeeper(cfg, h, store, logger, nil)
	if _, err := store.End(t.Context(), 8200); err != nil {
		t.Fatal(err)
	}
	look := func(what string, isOwing, isOwed bool) {
		t.Helper()
		k.renewMounts(t.Context())
		if r, err := store.Get(8200); err != nil || r.IsOwed != isOwed || k.isOwing != isOwing {
			t.Errorf("%s: soon again %v, owed %v, %v, want %v and %v; %s", what, k.isOwing, r.IsOwed, err, isOwing, isOwed, k.said[8200])
		}
	}
	putBack := b.takeBootstrap(t)
	look("damaged", true, true)
	putBack()
	blocked := filepath.Join(b.dir, "mounts/8200", contract.RegistryHostsFile)
	if err := os.RemoveAll(blocked); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(blocked, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	look("not written", false, true)
	if err := os.RemoveAll(blocked); err != nil {
		t.Fatal(err)
	}
	look("written", false, false)
}

// A guest whose tokens have ended can be revoked: it gets no new one after that.
func TestAnEndedGuestIsRevoked(t *testing.T) {
	t.Parallel()
	a := newAncestor(t)
	a.takeBootstrap(t)
	a.conf(t, "8200", "0a", "parent: first\n")
	a.untilEnded(t)
	a.command(t, "guest", "revoke", "8200")
	if list := a.command(t, "guest", "list"); !strings.Contains(list, "its tokens were revoked") {
		t.Errorf("guest list:\n%s", list)
	}
}

// What was seen is done after a kill of the daemon at any point: each step of these
// is another daemon, which knows what is on disk alone.
func TestEventsSurviveAKill(t *testing.T) {
	t.Parallel()
	const ownID, made = "0123456789ABCDEF", "#felhom-agentd: provision 0123456789ABCDEF\n"
	for name, c := range map[string]struct {
		journal bool // a command makes or removes the guest meanwhile
		made    string
		event   string // of the configuration
		copied  bool
		isAgain bool  // the guest had the command's ID before, of a run that was interrupted
		isAfter bool  // the event is after the guest was made
		after   []int // what has to end once the command is over
	}{
		"rolled back":                           {event: "parent: first\n", after: []int{8200}},
		"rolled back beside a command":          {journal: true, event: "parent: first\n", after: []int{8200}},
		"another one's ID beside a command":     {journal: true, made: "FEDCBA9876543210", event: "parent: second\n" + made, after: []int{8200}},
		"restored by the command":               {journal: true, made: ownID, event: "lock: create\n" + made},
		"restored again by the command":         {journal: true, isAgain: true, event: "parent: second\n" + made},
		"rolled back after the command made it": {journal: true, isAgain: true, isAfter: true, event: "parent: first\n" + made, after: []int{8200}},
		"copied":                                {copied: true, event: "parent: second\n"},
		"copied, when the overlap is over":      {copied: true, event: "parent: second\n", after: []int{8200}},
	} {
		t.Run(name, func(t *testing.T) {
			a := newLXCBed(t)
			b := a.bed
			a.conf(t, "8200", "0a", "parent: second\n")
			if c.isAgain {
				a.conf(t, "8200", "0a", "parent: second\n"+made)
			}
			b.add(t, "8200")
			if c.isAgain {
				a.update(t, func(r *guests.Record) { r.Provisioned = &guests.Provisioned{ID: ownID, At: time.Now().Add(-time.Hour)} })
			}
			a.look(t, nil)
			journal := filepath.Join(b.dir, "state/provision/8200.json")
			if c.journal {
				if err := os.WriteFile(journal, []byte("{}"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if c.made != "" {
				a.update(t, func(r *guests.Record) { r.Provisioned = &guests.Provisioned{ID: c.made} })
			}
			if c.copied {
				a.conf(t, "8300", "0a", "")
			}
			if c.journal {
				// What a command leaves for a moment: the look at its end sees another one.
				a.conf(t, "8200", "0a", "lock: rollback\nparent: second\n")
				if over := a.look(t, nil); len(over) > 0 {
					t.Errorf("%v end while a command has them", over)
				}
			}
			a.conf(t, "8200", "0a", c.event)
			over := a.look(t, nil)
			if c.journal && len(over) > 0 {
				t.Errorf("%v end while a command has them", over)
			}
			if c.isAgain && !c.isAfter {
				a.update(t, func(r *guests.Record) { r.Provisioned.At = time.Now().UTC().Truncate(time.Second) })
			}
			if c.journal {
				if err := os.Remove(journal); err != nil {
					t.Fatal(err)
				}
			}
			over = a.look(t, func(one *ancestry) {
				if c.copied && len(c.after) > 0 {
					one.now.Since[8200] = time.Now().Add(-one.cfg.Limits.TokenOverlap)
				}
			})
			if !slices.Equal(over, c.after) {
				t.Errorf("%v end, want %v", over, c.after)
			}
		})
	}
}

// A command made or removed a guest, and it is not known after that, as after an undone
// provision: nothing is said of tokens that it does not have.
func TestNothingIsSaidOfAGuestThatACommandRemoved(t *testing.T) {
	b := newBed(t)
	a := ancestor{bed: b, guests: filepath.Join(b.dir, "guests")}
	a.conf(t, "8200", "0a", "parent: second\n")
	b.add(t, "8200")
	cfg, err := loadConfig(b.config)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Hypervisor, cfg.LXCPath = config.HypervisorLXC, a.guests
	store := b.store(t)
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	var noted []audit.Event
	one := newAncestry(cfg, store, logger, func(e audit.Event) { noted = append(noted, e) }, func(int) bool { return false })
	defer func() { _ = one.close() }()
	compare := func(waiting int) {
		t.Helper()
		if _, err := one.compare(t.Context()); err != nil || len(one.now.Waiting) != waiting {
			t.Fatalf("%d events wait, %v, want %d", len(one.now.Waiting), err, waiting)
		}
	}
	compare(0)
	journal := filepath.Join(b.dir, "state/provision/8200.json")
	if err := os.WriteFile(journal, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	a.conf(t, "8200", "0a", "lock: rollback\nparent: second\n")
	compare(1)
	a.conf(t, "8300", "0b", "") // a directory without guests is that of no hypervisor
	err = errors.Join(os.RemoveAll(filepath.Join(a.guests, "8200")), store.Replace(t.Context(), 8200, nil), os.Remove(journal))
	if err != nil {
		t.Fatal(err)
	}
	compare(0)
	if len(noted) > 0 {
		t.Errorf("the audit log gets %+v", noted)
	}
}

// look is that of a daemon that starts now, is changed, and ends at once. It returns
// the guests whose tokens have to end.
func (a ancestor) look(t *testing.T, change func(*ancestry)) []int {
	t.Helper()
	cfg, err := loadConfig(a.config)
	if err != nil {
		t.Fatal(err)
	}
	store, err := guests.Open(cfg.StoreDir, cfg.StateDir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	logger := logrus.New()
	logger.SetOutput(io.Discard)
	one := newAncestry(cfg, store, logger, func(audit.Event) {}, func(int) bool { return false })
	if _, err := one.compare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(one)
	}
	over := one.overdue()
	if err := one.close(); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	return over
}

// takeBootstrap removes the bootstrap.json of guest 8200, and returns what puts it back.
func (b *bed) takeBootstrap(t *testing.T) (putBack func()) {
	t.Helper()
	file := filepath.Join(b.dir, "mounts/8200/bootstrap.json")
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	move(file, file+".away")
	return func() { t.Helper(); move(file+".away", file) }
}

func (a ancestor) update(t *testing.T, change func(*guests.Record)) {
	t.Helper()
	store := a.store(t)
	if err := store.Update(t.Context(), 8200, func(r *guests.Record) error { change(r); return nil }); err != nil {
		t.Fatal(err)
	}
}
