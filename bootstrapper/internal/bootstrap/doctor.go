package bootstrap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/felhom/felhom-golden/internal/checks"
	"github.com/felhom/felhom-golden/internal/containerspec"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver/docker"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/localapi"
)

// The limits of what a guest's clock and disk may be.
const (
	clockOff    = 5 * time.Second // what a request and a busy host explain
	clockBroken = 5 * time.Minute // certificates and tokens of registries fail
	leastFree   = 512 << 20       // an image of some size no longer fits
	leastShare  = 20              // a twentieth
)

// Doctor returns the checks of a guest, and a function that hides the guest's
// secrets. They look with the steps of a run, wait for nothing, and change
// nothing.
func Doctor(o Options, engine Engine) (list []checks.Check, hide func(string) string) {
	o = withDefaults(o)
	d := &doctor{o: o, engine: engine}
	d.b, _, d.err = readInput(o.Mount, ConfigFile)
	hide = func(s string) string { return s }
	if d.err == nil {
		p, _ := planOf(o, d.b) // the check of the contract says what is wrong
		hide = scrubber(d.b, append(containerspec.Pairs(environmentOf(d.b)), p.spec.Environment...))
	}
	return []checks.Check{
		{Name: "mount", Look: d.mount},
		{Name: "parse", Look: d.parse},
		{Name: "channel", Look: d.channel},
		{Name: "settings", Look: d.settings},
		{Name: "engine", Look: d.ready},
		{Name: "registry", Look: d.registry},
		{Name: "disk", Look: d.disk},
		{Name: "clock", Look: d.clock},
	}, hide
}

type doctor struct {
	o      Options
	engine Engine
	b      contract.Bootstrap
	err    error // of reading b

	once sync.Once
	me   contract.Guest
	met  error
	at   time.Time // when the host answered
}

// Guest asks the host once for all checks. It implements [Host].
func (d *doctor) Guest(ctx context.Context) (contract.Guest, error) {
	d.once.Do(func() {
		client := &localapi.Client{Endpoint: d.b.LocalAPIEndpoint, Pins: d.b.LocalAPIPins, Token: d.b.LocalAPIToken}
		defer client.Close()
		d.me, d.met = client.Guest(ctx)
		d.at = time.Now()
	})
	return d.me, d.met
}

// needsContract returns what a check finds without a contract, nil if there is one.
func (d *doctor) needsContract() []checks.Finding {
	if d.err == nil {
		return nil
	}
	return []checks.Finding{checks.NotKnown("correct what the checks of the mount found", "there is no valid bootstrap.json")}
}

// mount looks whether the file is there and readable, whatever is in it.
func (d *doctor) mount(context.Context) []checks.Finding {
	uidMap, _ := os.ReadFile("/proc/self/uid_map") // unreadable: the hint names the usual id
	step := mountStep{dir: d.o.Mount, idBase: mappedRoot(string(uidMap))}
	_, warnings, err := step.read()
	if err != nil {
		return checks.FromError(err, "")
	}
	var found []checks.Finding
	for _, w := range warnings {
		found = append(found, checks.Warn("felhom-agentd guest add VMID on the host writes the mount again", "%s", w))
	}
	if len(found) == 0 {
		found = append(found, checks.Fine("%s is readable", step.path()))
	}
	return found
}

func (d *doctor) parse(context.Context) []checks.Finding {
	path := filepath.Join(d.o.Mount, ConfigFile)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) || errors.Is(d.err, ErrUnreadable) {
		return d.needsContract()
	}
	b, _, err := Check(d.o, path)
	if err != nil {
		return checks.FromError(err, "felhom-agentd guest add VMID on the host writes the file again")
	}
	return []checks.Finding{checks.Fine("%s", about(b))}
}

func (d *doctor) channel(ctx context.Context) []checks.Finding {
	if found := d.needsContract(); found != nil {
		return found
	}
	step := channelStep{host: d, endpoint: d.b.LocalAPIEndpoint.HostPort(), guestID: d.b.GuestID, nics: func() []nic { return nics(at(d.o.Root, "/")) }}
	return d.stepped(step.run(ctx, func(string) {}))
}

// stepped returns what a step found: a run continues after a degraded one, and
// here it is a failure that time may correct.
func (d *doctor) stepped(out outcome, err error) []checks.Finding {
	switch {
	case err != nil:
		return checks.FromError(err, "")
	case out.Outcome == Degraded:
		return []checks.Finding{checks.Fail(fault.NotReady, out.Hint, "%s", out.Message)}
	}
	return []checks.Finding{checks.Fine("%s", out.Message)}
}

// settings looks for what a controller of the profile felhom reads: without it,
// it is in setup mode.
func (d *doctor) settings(ctx context.Context) []checks.Finding {
	if found := d.needsContract(); found != nil {
		return found
	}
	if d.b.Profile == contract.ProfilePlain {
		return []checks.Finding{checks.Fine("the profile plain has none")}
	}
	want, err := settingsOf(d.o, d.b).render()
	if err != nil {
		return checks.FromError(err, "")
	}
	path := filepath.Join(want.dir, SettingsFile)
	got, err := readSettings(path)
	if err == nil && bytes.Equal(got, want.data) {
		return []checks.Finding{checks.Fine("%s is what %s gives", path, want.from)}
	}
	// Before the first run there is neither a file nor a controller.
	_, askErr := d.engine.Connect(ctx)
	if askErr == nil {
		_, askErr = d.engine.Container(ctx, ContainerName)
	}
	switch {
	case errors.Is(askErr, docker.ErrNotFound):
		return []checks.Finding{checks.Fine("there is no controller yet; a run writes %s", path)}
	case askErr != nil:
		return []checks.Finding{checks.NotKnown("correct what the check of the engine found", "whether there is a controller that needs %s", path)}
	case errors.Is(err, fs.ErrNotExist):
		return []checks.Finding{checks.Fail(fault.NotReady, settingsRemedy, "the controller is in setup mode: %s does not exist", path)}
	case err != nil:
		return []checks.Finding{checks.Fail(fault.NotReady, settingsRemedy, "the controller is in setup mode: %v", err)}
	}
	o := withDefaults(d.o)
	if m := recall(at(o.Root, MemoryFile)); m.refuses(inputOf(o)) != nil {
		return []checks.Finding{checks.Warn("correct the change on the host: each new bootstrap.json is tried once",
			"%s is of the controller that was ready last, because a change was rolled back at %s", path, m.Refused.Time.Format(time.DateTime+" MST"))}
	}
	return []checks.Finding{checks.Warn(settingsRemedy, "%s is not what %s gives now", path, want.from)}
}

const settingsRemedy = "systemctl restart felhom-controller-bootstrap.service writes it; then docker restart " + ContainerName

// engineLimit is how long the engine may take to answer: it runs, or it does not.
const engineLimit = 3 * time.Second

func (d *doctor) ready(ctx context.Context) []checks.Finding {
	step := engineStep{
		engine: d.engine, limit: engineLimit, unit: d.o.EngineUnit,
		nics: func() []nic { return nics(at(d.o.Root, "/")) }, endpoint: d.b.LocalAPIEndpoint.HostPort(),
	}
	return d.stepped(step.run(ctx, func(string) {}))
}

// registry asks the registry of the controller's image as a run does after a
// failed pull: without any credential.
func (d *doctor) registry(ctx context.Context) []checks.Finding {
	if found := d.needsContract(); found != nil {
		return found
	}
	ref := d.b.ControllerImage
	_, err := d.engine.Connect(ctx)
	isReached, isPresent := err == nil, false
	if isReached {
		_, err = d.engine.Image(ctx, ref.String())
		isPresent = err == nil
	}
	if d.b.RegistryProxy {
		return d.proxyFiles()
	}
	host := d.b.RegistryMirror
	if host == "" {
		host = ref.Host()
	}
	if isReached && !d.engine.ReachesDirectly(ctx, host) {
		return []checks.Finding{checks.Fine("%s was not asked: the engine reaches it by settings of its own (proxy, mirror, insecure-registries)", host)}
	}
	probe := docker.ProbeRegistry(ctx, at(d.o.Root, CertsDir), host)
	if probe.Kind == "" {
		return []checks.Finding{checks.Fine("%s answers", host)}
	}
	m := meaning(probe.Kind)
	if isPresent {
		return []checks.Finding{checks.Warn(m.hint, "%s: %v; the image is present, the next one could not be pulled", host, probe.Err)}
	}
	return []checks.Finding{checks.Fail(m.code, m.hint, "%s: %v", host, probe.Err)}
}

// proxyFiles looks for what leads the engine to the host, whose reach is the
// check of the channel.
func (d *doctor) proxyFiles() (found []checks.Finding) {
	for _, name := range []string{hostsFile, certificateFile} {
		if _, err := os.Stat(filepath.Join(d.o.Mount, name)); err != nil {
			found = append(found, checks.Fail(fault.NotReady, "felhom-agentd guest add VMID on the host writes the file again", "images come through the host: %v", err))
		}
	}
	if len(found) == 0 {
		found = append(found, checks.Fine("images come through the host; see channel"))
	}
	return found
}

func (d *doctor) disk(ctx context.Context) []checks.Finding {
	var found []checks.Finding
	var seen []syscall.Fsid
	for _, dir := range []string{at(d.o.Root, "/"), imageRoot(ctx, d.engine, d.o.Root)} {
		var st syscall.Statfs_t
		err := syscall.Statfs(dir, &st)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			found = append(found, checks.NotKnown("look at the file system", "%s: %v", dir, err))
		case len(seen) > 0 && seen[0] == st.Fsid:
		default:
			seen = append(seen, st.Fsid)
			found = append(found, judgeDisk(dir, st))
		}
	}
	return found
}

func judgeDisk(dir string, st syscall.Statfs_t) checks.Finding {
	size, free := st.Blocks*uint64(max(st.Bsize, 0)), st.Bavail*uint64(max(st.Bsize, 0))
	text := fmt.Sprintf("%s has %d of %d MiB available", dir, free>>20, size>>20)
	remedy := meaning(docker.DiskFull).hint
	switch {
	case st.Bavail == 0:
		return checks.Fail(fault.NotReady, remedy, "%s", text)
	case st.Files > 0 && st.Ffree == 0:
		return checks.Fail(fault.NotReady, remedy, "%s has no inode left", dir)
	case free < leastFree || free < size/leastShare, st.Files > 0 && st.Ffree < st.Files/leastShare:
		return checks.Warn(remedy, "%s, and %d of %d inodes", text, st.Ffree, st.Files)
	}
	return checks.Fine("%s", text)
}

// clock compares with the host's.
func (d *doctor) clock(ctx context.Context) []checks.Finding {
	if found := d.needsContract(); found != nil {
		return found
	}
	me, err := d.Guest(ctx)
	if err != nil {
		return []checks.Finding{checks.NotKnown("correct what the check of the channel found", "the host was not reached, so its clock is not known")}
	}
	return judgeClock(d.at.Sub(me.Time))
}

// judgeClock judges by how much this guest's clock is ahead of the host's. They
// are one kernel's clock, so that a difference is a wrong answer, or a time
// namespace.
func judgeClock(ahead time.Duration) []checks.Finding {
	remedy := "compare date -u here and on the host; a guest has the clock of its host, so look at what answers as the host"
	text := fmt.Sprintf("this guest's clock is %s from the host's", ahead.Abs().Round(time.Second))
	switch {
	case ahead.Abs() > clockBroken:
		return []checks.Finding{checks.Fail(fault.NotReady, remedy, "%s", text)}
	case ahead.Abs() > clockOff:
		return []checks.Finding{checks.Warn(remedy, "%s", text)}
	}
	return []checks.Finding{checks.Fine("agrees with the host's")}
}
