// Package stage makes the root file system of a golden image. Call [Resolve] to
// turn a recipe into a [Plan], then [Plan.Base] for the base (what comes from
// packages or runs code; made by an [Engine] and kept in a cache) and
// [Plan.Overlay] for the files over it, which are cheap to replace.
//
// It does not seal and does not pack: the caller passes what seals a base.
package stage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/felhom/felhom-golden/golden/internal/apt"
	"github.com/felhom/felhom-golden/golden/internal/recipe"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/regular"
)

// baseSet is in every golden image unless the recipe excludes it. ifupdown and
// dhcpcd-base are there because PVE writes /etc/network/interfaces and nothing
// else: without them a guest restores cleanly and has no network.
var baseSet = []string{
	"ca-certificates", "dbus", "dhcpcd-base", "docker.io", "ifupdown",
	"iproute2", "iptables", "systemd", "systemd-sysv",
}

// debianKeyring is where Debian's keys are, on this machine and in the guest.
const debianKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// Plan is a recipe with everything resolved that the base depends on. Two
// equal plans give the same base, byte for byte.
type Plan struct {
	Recipe   recipe.Recipe
	Engine   Engine        // what installs the packages
	Sources  []apt.Source  // of the build, Debian's first
	Releases []apt.Release // one for every suite of Sources
	Guest    []GuestSource // of the guest
	Packages []string      // asked for, sorted; "name-" is kept out
	Tools    []Tool
	Inputs   []Input // files of this machine that go into the base
	Epoch    time.Time
	Warnings []string

	stateKey    string // of the archives' indexes
	choiceKey   string // of what apt chooses from them
	packagesKey string // of the layer that the engine makes
	scriptsKey  string // of the layer with scripts and authorities; "" without both
}

// Input is a file of this machine by its content.
type Input struct {
	Path   string `json:"path"` // as in the recipe
	SHA256 string `json:"sha256"`
}

// GuestSource is one .sources file of the guest.
type GuestSource struct {
	Name string // file name without .sources
	List []apt.Source
	Key  string // file of this machine to copy; "" when the guest has the keyring by a package
}

// Options are what Resolve needs beside the recipe. The zero value is good.
type Options struct {
	Machine  fs.FS // root of this machine; nil is /
	Apt      apt.Client
	Epoch    time.Time // zero: the newest of snapshot and releases
	Engine   Engine    // what installs the packages; "" is the recipe's
	SealSpec string    // what the sealing of the base depends on
}

// Resolve finds out what r means on this machine and today: it reads the
// machine's apt sources, asks every archive for its state and hashes every
// input of the base. Its error is all that was found, joined.
func Resolve(ctx context.Context, r recipe.Recipe, opts Options) (Plan, error) {
	if opts.Machine == nil {
		opts.Machine = os.DirFS("/")
	}
	p := Plan{Recipe: r, Engine: cmp.Or(opts.Engine, Engine(r.Engine)), Packages: packageSet(r)}
	if err := p.resolveSources(opts.Machine); err != nil {
		return Plan{}, err
	}
	// At the same time: asking mmdebstrap takes as long as asking the mirror.
	var inputs inputSums
	var errs [3]error
	var wg sync.WaitGroup
	wg.Go(func() { inputs, errs[0] = p.resolveInputs() })
	wg.Go(func() { errs[1] = errors.Join(checkIDs(opts.Machine), p.resolveTools(ctx)) })
	wg.Go(func() { errs[2] = p.resolveReleases(ctx, opts.Apt) })
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return Plan{}, err
	}
	p.Epoch = opts.Epoch
	if p.Epoch.IsZero() {
		p.Epoch = p.newest()
	}
	if p.Epoch.IsZero() {
		return Plan{}, fault.WrapHint(fault.Invalid, errors.New("no time for the image: no archive states a date"), "set SOURCE_DATE_EPOCH")
	}
	return p, p.resolveKeys(opts.SealSpec, inputs)
}

// newest is the snapshot's time, or the newest date of the releases.
func (p *Plan) newest() time.Time {
	if t := p.Recipe.SnapshotTime(); !t.IsZero() {
		return t
	}
	var t time.Time
	for _, rel := range p.Releases {
		if rel.Date.After(t) {
			t = rel.Date
		}
	}
	return t
}

func packageSet(r recipe.Recipe) []string {
	set := slices.Concat(baseSet, r.Packages.Include)
	set = slices.DeleteFunc(set, func(name string) bool { return slices.Contains(r.Packages.Exclude, name) })
	for _, name := range r.Packages.Exclude {
		set = append(set, name+"-") // apt-get's form for "not this one"
	}
	slices.Sort(set)
	return slices.Compact(set)
}

func (p *Plan) resolveSources(machine fs.FS) error {
	r := p.Recipe
	main := apt.Source{URI: r.Apt.Mirror, SignedBy: debianKeyring}
	security := apt.Source{URI: r.Apt.SecurityMirror, SignedBy: debianKeyring}
	if r.Apt.Mirror == "" {
		codename, err := releaseField(machine, "VERSION_CODENAME")
		if err != nil {
			return err
		}
		list, err := apt.Machine(machine)
		if err != nil {
			return err
		}
		m, s, ok := apt.Debian(list, codename)
		if !ok {
			return fault.WrapHint(fault.Invalid, fmt.Errorf("no Debian archive in this machine's apt sources (looked for suite %q with component main)", codename),
				"name one with apt.mirror in the recipe, such as https://mirror.example/debian")
		}
		main.URI = m.URI
		security.URI = cmp.Or(security.URI, s.URI)
	} else {
		main.URI = apt.Snapshot(main.URI, r.SnapshotTime())
		security.URI = apt.Snapshot(security.URI, r.SnapshotTime())
	}
	if r.Apt.Keyring != "" {
		main.SignedBy, security.SignedBy = r.Local(r.Apt.Keyring), r.Local(r.Apt.Keyring)
	}
	main.Components, security.Components = r.Apt.Components, r.Apt.Components
	main.Suites = []string{r.Suite}
	list := []apt.Source{main}
	if r.Apt.Security {
		list[0].Suites = append(list[0].Suites, r.Suite+"-updates")
		if security.URI != "" {
			security.Suites = []string{r.Suite + "-security"}
			list = append(list, security)
		} else {
			why := "apt.mirror is given and apt.security_mirror is not"
			if r.Apt.Mirror == "" {
				why = "this machine's apt sources have none; name one with apt.security_mirror in the recipe"
			}
			p.Warnings = append(p.Warnings, "no security archive: "+why)
		}
	}
	p.Sources = list
	p.resolveGuest(list)
	for _, s := range r.Apt.Sources {
		p.Sources = append(p.Sources, apt.Source{URI: s.URI, Suites: s.Suites, Components: s.Components, SignedBy: r.Local(s.Key)})
		p.Guest = append(p.Guest, guestSource(&r, s))
	}
	return nil
}

// resolveGuest decides on Debian's part of the guest's sources. What is
// private to this machine must not go out with the image.
func (p *Plan) resolveGuest(debian []apt.Source) {
	r := &p.Recipe
	if len(r.Apt.Guest) > 0 {
		for _, s := range r.Apt.Guest {
			p.Guest = append(p.Guest, guestSource(r, s))
		}
		return
	}
	if r.Apt.Snapshot != "" {
		p.Warnings = append(p.Warnings, "the guest has no Debian sources: a snapshot never gets updates; name the guest's own with apt.guest")
		return
	}
	guest := GuestSource{Name: "debian"}
	for _, s := range debian {
		if apt.IsPrivate(s.URI) {
			p.Warnings = append(p.Warnings, fmt.Sprintf("the guest does not get the source %s: it is private to this machine; name the guest's own with apt.guest", s.URI))
			continue
		}
		s.SignedBy = debianKeyring
		guest.List = append(guest.List, s)
	}
	if len(guest.List) > 0 {
		p.Guest = append(p.Guest, guest)
	}
}

func guestSource(r *recipe.Recipe, s recipe.Source) GuestSource {
	g := GuestSource{Name: s.Name, List: []apt.Source{{URI: s.URI, Suites: s.Suites, Components: s.Components, SignedBy: debianKeyring}}}
	if s.Key != "" {
		g.Key = r.Local(s.Key)
		g.List[0].SignedBy = "/etc/apt/keyrings/" + s.Name + keySuffix(g.Key)
	}
	return g
}

// keySuffix is what apt wants to see: .asc for armoured keys, .gpg for others.
func keySuffix(path string) string {
	f, err := regular.Open(path)
	if err != nil {
		return ".gpg" // resolveKeys reads the file and says what is wrong with it
	}
	defer func() { _ = f.Close() }() // only read
	head := make([]byte, len("-----BEGIN"))
	if _, err := io.ReadFull(f, head); err == nil && string(head) == "-----BEGIN" {
		return ".asc"
	}
	return ".gpg"
}

func (p *Plan) resolveReleases(ctx context.Context, client apt.Client) error {
	type suite struct{ uri, name string }
	var suites []suite
	for _, s := range p.Sources {
		for _, name := range s.Suites {
			suites = append(suites, suite{s.URI, name})
		}
	}
	p.Releases = make([]apt.Release, len(suites))
	return together(len(suites), func(i int) (err error) {
		p.Releases[i], err = client.Release(ctx, suites[i].uri, suites[i].name)
		return err
	})
}

// together calls do with 0 to n-1 at the same time and joins the errors in
// this order.
func together(n int, do func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = do(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func releaseField(machine fs.FS, key string) (string, error) {
	data, err := fs.ReadFile(machine, "etc/os-release")
	if errors.Is(err, fs.ErrNotExist) || err != nil {
		data, err = fs.ReadFile(machine, "usr/lib/os-release")
	}
	if err != nil {
		return "", fault.WrapHint(fault.Invalid, fmt.Errorf("find this machine's release: %w", err), "name an archive with apt.mirror in the recipe")
	}
	for line := range strings.Lines(string(data)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), key+"="); ok {
			return strings.Trim(v, `"'`), nil
		}
	}
	return "", nil
}

// scriptEnvironment is what scripts of packages see: nothing of this machine's
// locale, zone, user or network.
func scriptEnvironment(epoch time.Time) []string {
	env := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root", "LC_ALL=C.UTF-8", "LANG=C.UTF-8", "TZ=UTC", "TERM=dumb",
		"DEBIAN_FRONTEND=noninteractive",
	}
	if !epoch.IsZero() {
		env = append(env, fmt.Sprintf("SOURCE_DATE_EPOCH=%d", epoch.Unix()))
	}
	return env
}

// environment is what programs of the build see: the same, and the proxies that
// this machine's owner has set.
func environment(epoch time.Time) []string {
	env := scriptEnvironment(epoch)
	for _, name := range []string{"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}
