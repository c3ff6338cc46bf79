// Package doctor finds what is wrong with a host that serves guests: its
// configuration, addresses, certificates, files, packages and guests. Fill
// [Options] and run the list of [Checks] with package checks. Nothing is changed,
// nothing is asked of a guest, and no secret is shown.
package doctor

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/api"
	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/agentd/internal/goldenid"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/overview"
	"github.com/felhom/felhom-golden/internal/checks"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
)

// Options are what the checks look at. A nil function, unless it is required,
// means that this host does not have that part.
type Options struct {
	File   string        // of the configuration
	Config config.Config // valid
	Now    func() time.Time

	Store    *guests.Store // nil: StoreErr says why
	StoreErr error
	Mounts   configmount.Dir
	// Root returns the guest's root in this host's ids. Required.
	Root func(ctx context.Context, vmid int) (driver.IDs, error)
	// Rows returns what is known of the guests. Required with Store.
	Rows func(ctx context.Context) ([]overview.Row, map[string]error, error)

	Health     func(ctx context.Context) (api.Health, error) // of the daemon. Required.
	Registries func(ctx context.Context) error               // what registry check finds
	Hypervisor func(ctx context.Context) error               // versions and parts of the host
	// Templates returns what is wrong with the templates of linked clones. Nil: this
	// host makes none.
	Templates func(ctx context.Context) []checks.Finding
	IDRanges  func() error
	Audit     func(ctx context.Context) error
	Secrets   func() error // files with secrets that the configuration names
	Clock     func() (isSynchronised bool, err error)
	// Firewall returns the state of the rules that limit who reaches the local
	// API. Nil: this host has none.
	Firewall func(ctx context.Context) []checks.Finding
	// Elsewhere reports whether another node that has the same Store has the guest:
	// that node's doctor looks at it. Nil: no other node has this Store.
	Elsewhere func(vmid int) bool
	NetDir    string // /sys/class/net
}

// Checks returns the checks of a host in the order in which they are shown.
func Checks(o Options) []checks.Check {
	if o.Rows != nil {
		o.Rows = once(o.Rows)
	}
	d := doctor{o}
	list := []checks.Check{
		{Name: "configuration", Look: d.configuration},
		{Name: "address", Look: d.address},
		{Name: "daemon", Look: d.daemon},
		{Name: "pins", Look: d.pins},
		{Name: "store", Look: d.store},
		{Name: "mounts", Look: d.mounts},
		{Name: "id-ranges", Look: d.idRanges},
		{Name: "bridge", Look: d.bridge},
		{Name: "firewall", Look: d.firewall},
		{Name: "origin", Look: d.origin},
		{Name: "exposure", Look: d.exposure},
		{Name: "clock", Look: d.clock},
		{Name: "registry", Look: d.registries},
		{Name: "hypervisor", Look: d.hypervisor},
		{Name: "golden", Look: d.golden},
		{Name: "guests", Look: d.guests},
		{Name: "audit", Look: d.audit},
	}
	return list
}

// once returns a function that calls rows at its first call alone: rows asks the
// hypervisor for each guest, and two checks need the answer.
func once(rows func(context.Context) ([]overview.Row, map[string]error, error)) func(context.Context) ([]overview.Row, map[string]error, error) {
	var (
		first  sync.Once
		all    []overview.Row
		broken map[string]error
		err    error
	)
	return func(ctx context.Context) ([]overview.Row, map[string]error, error) {
		first.Do(func() { all, broken, err = rows(ctx) })
		return all, broken, err
	}
}

// Broken returns the only row of a host whose configuration cannot be used,
// because the other checks need it.
func Broken(err error) []checks.Check {
	return []checks.Check{{Name: "configuration", Look: func(context.Context) []checks.Finding {
		return checks.FromError(err, "docs/agentd.md describes every key")
	}}}
}

type doctor struct{ Options }

// orFine returns found, or if it is empty one finding with that text.
func orFine(found []checks.Finding, format string, args ...any) []checks.Finding {
	if len(found) == 0 {
		return []checks.Finding{checks.Fine(format, args...)}
	}
	return found
}

func (d doctor) configuration(context.Context) []checks.Finding {
	var found []checks.Finding
	for _, file := range []string{d.File, filepath.Dir(d.File)} {
		found = append(found, othersWrite(file)...)
	}
	if d.Secrets != nil {
		found = append(found, checks.FromError(d.Secrets(), "chmod 600 the file")...)
	}
	return orFine(found, "%s is valid", d.File)
}

// othersWrite returns a finding if users other than root can change the file at
// path.
func othersWrite(path string) []checks.Finding {
	info, err := os.Stat(path)
	if err != nil {
		return checks.FromError(err, "look at the file")
	}
	owner, ok := ownerOf(info)
	switch {
	case ok && owner != 0:
		return []checks.Finding{checks.Fail(fault.Invalid, "chown root: "+path, "%s belongs to user %d, who can change what felhom-agentd does as root", path, owner)}
	case info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0:
		return []checks.Finding{checks.Fail(fault.Invalid, "chmod o-w "+path, "%s has mode %04o: every user of this host can change what felhom-agentd does as root", path, info.Mode().Perm())}
	}
	return nil
}

func (d doctor) idRanges(context.Context) []checks.Finding {
	if d.IDRanges == nil {
		return []checks.Finding{checks.Fine("not needed: nothing here maps ids by /etc/subuid")}
	}
	shared := "all guests share them"
	if d.Config.IDMap == config.IDMapPerGuest {
		shared = "each guest has its own"
	}
	return orFine(checks.FromError(d.IDRanges(), "add the range to /etc/subuid and /etc/subgid"), "root may map the ids from %d on; %s", d.Config.IDMapBase, shared)
}

func (d doctor) registries(ctx context.Context) []checks.Finding {
	if d.Registries == nil || len(d.Config.AllRegistries()) == 0 {
		return []checks.Finding{checks.Fine("none is configured")}
	}
	return orFine(checks.FromError(d.Registries(ctx), "felhom-agentd registry check"), "%d of the configuration accept the host's credential", len(d.Config.AllRegistries()))
}

func (d doctor) hypervisor(ctx context.Context) []checks.Finding {
	if d.Hypervisor == nil {
		return []checks.Finding{checks.Fine("none is configured: another program makes the guests")}
	}
	err := d.Hypervisor(ctx)
	if ctx.Err() != nil {
		return []checks.Finding{checks.NotKnown("run it again", "the hypervisor's programs did not answer: %v", err)}
	}
	return orFine(checks.FromError(err, "see docs/operations.md"), "%s: its programs and versions are what guests with Docker need", d.Config.Hypervisor)
}

func (d doctor) clock(context.Context) []checks.Finding {
	var found []checks.Finding
	if current, _, err := d.certificates(); err == nil && d.Now().Before(current.NotBefore) {
		found = append(found, checks.Fail(fault.NotReady, "set the clock: timedatectl set-ntp true",
			"this host's clock says %s, before its own certificate was made (%s)", d.Now().UTC().Format(time.RFC3339), current.NotBefore.UTC().Format(time.RFC3339)))
	}
	isSynchronised, err := d.Clock()
	switch {
	case err != nil:
		found = append(found, checks.NotKnown("timedatectl", "whether the clock is synchronised: %v", err))
	case !isSynchronised:
		found = append(found, checks.Warn("timedatectl set-ntp true, or look at chrony or systemd-timesyncd", "the kernel says that the clock is not synchronised; guests compare their clocks with it"))
	}
	return orFine(found, "synchronised")
}

func (d doctor) audit(ctx context.Context) []checks.Finding {
	if d.Audit == nil {
		return []checks.Finding{checks.Fine("no log yet")}
	}
	err := d.Audit(ctx)
	if ctx.Err() != nil {
		return []checks.Finding{checks.NotKnown("felhom-agentd audit verify", "the log was not read to its end in time")}
	}
	return orFine(checks.FromError(err, "felhom-agentd audit verify"), "each line has the hash of the one before")
}

// noStore returns what the checks of guests find without a store.
func (d doctor) noStore() []checks.Finding {
	if d.Store != nil {
		return nil
	}
	if d.StoreErr == nil {
		return []checks.Finding{checks.Fine("no guest is known yet")}
	}
	return []checks.Finding{checks.NotKnown("correct what the check of the store found", "the store cannot be read")}
}

func (d doctor) golden(ctx context.Context) []checks.Finding {
	archive := d.Config.Provision.Golden
	if archive == "" {
		return []checks.Finding{checks.Fine("none is configured as the default")}
	}
	made, err := madeAt(archive)
	if err != nil {
		return checks.FromError(fault.Wrap(fault.Invalid, fmt.Errorf("golden image: %w", err)), "set golden in the configuration to an archive that exists; felhom-golden build makes one")
	}
	age := d.Now().Sub(made)
	switch {
	case age < -24*time.Hour:
		return []checks.Finding{checks.Warn("compare the clocks of the build machine and of this host", "%s is of %s, in the future", archive, made.Format(time.DateOnly))}
	case age > goldenAge:
		return append([]checks.Finding{checks.Warn("felhom-golden build, and set golden to the new archive: guests made from this one miss the security updates since",
			"%s is %s old", archive, days(age))}, d.older(ctx)...)
	}
	if found := d.older(ctx); len(found) > 0 {
		return found
	}
	return []checks.Finding{checks.Fine("%s is %s old", archive, days(age))}
}

// days returns an age in words, "0 days" for one in the future.
func days(age time.Duration) string {
	if n := max(0, int(age.Hours()/24)); n != 1 {
		return strconv.Itoa(n) + " days"
	}
	return "1 day"
}

// older returns the guests and templates of other golden images.
func (d doctor) older(ctx context.Context) []checks.Finding {
	found := d.outdated(ctx)
	if d.Templates != nil {
		found = append(found, d.Templates(ctx)...)
	}
	return found
}

// outdated returns which guests were made from an older golden image than new
// ones are.
func (d doctor) outdated(ctx context.Context) []checks.Finding {
	if d.Rows == nil {
		return nil
	}
	rows, _, err := d.Rows(ctx)
	if err != nil {
		return nil // the check of the guests says so
	}
	var older []string
	for _, row := range rows {
		if row.GoldenAge == goldenid.Older && !d.isElsewhere(row.Guest) {
			older = append(older, strconv.Itoa(row.Guest))
		}
	}
	if len(older) == 0 {
		return nil
	}
	const shown = 20
	text := strings.Join(older[:min(shown, len(older))], ", ")
	if more := len(older) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return []checks.Finding{checks.Warn("docs/golden-change.md moves a guest to the new image with its data", "%d of %d guests were made from an older golden image: %s", len(older), len(rows), text)}
}
