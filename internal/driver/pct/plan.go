package pct

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/pctconf"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// plan is a restore as pct does it.
type plan struct {
	config  *pctconf.Config // the archive's
	storage string
	size    string            // of the root file system, in GiB
	bytes   int64             // the same
	bridge  string            // of net0; "" when the guest gets none
	options map[string]string // of pct restore, without hyphens
}

// architectures are PVE's names for Go's.
var architectures = map[string]string{"amd64": "amd64", "arm64": "arm64", "386": "i386", "arm": "armhf", "riscv64": "riscv64"}

// newPlan makes a plan from an archive's configuration and a spec, or returns
// everything that is wrong with them.
func newPlan(vmid int, s driver.Spec, conf []byte) (*plan, error) {
	config, findings := pctconf.Parse(conf)
	p := &plan{config: config, options: map[string]string{}}
	var errs []error
	archive := func(format string, args ...any) {
		errs = append(errs, driver.Faultf(driver.ErrArchive, "felhom-golden verify says what is wrong with an archive", "%s: %s", s.Archive, fmt.Sprintf(format, args...)))
	}
	for _, f := range findings {
		// PVE warns at most, and carries the wrong text into the new guest.
		if f.Severity == pctconf.Error {
			archive("pct.conf: %s", f)
		}
	}
	if on, _ := config.Bool("unprivileged"); !on {
		archive("pct.conf: no \"unprivileged: 1\"; PVE would make a privileged guest")
	}
	if value, _ := config.Get("features"); !nesting(value) {
		archive("pct.conf: features %q without nesting=1, which Docker needs", value)
	}
	if arch, ok := config.Get("arch"); ok && arch != architectures[runtime.GOARCH] {
		archive("it is for %s, this node is %s", arch, architectures[runtime.GOARCH])
	}
	for _, f := range pctconf.ReachingOut(config) {
		archive("pct.conf: %s %s", f.Key, f.Message)
	}
	if vmid < vzdump.MinVMID || vmid > vzdump.MaxVMID {
		errs = append(errs, driver.Faultf(driver.ErrRefused, "", "VMID %d: want %d to %d", vmid, vzdump.MinVMID, vzdump.MaxVMID))
	}
	errs = append(errs, p.disk(s), p.setNet(s.Net), p.set(s))
	return p, errors.Join(errs...)
}

func nesting(features string) bool {
	props, err := pctconf.ParseProperties(features, "")
	return err == nil && props.IsOn("nesting")
}

// disk sets storage and size. pct always gets both: without them it uses the
// storage "local", which usually accepts no guests.
func (p *plan) disk(s driver.Spec) error {
	p.storage = cmp.Or(s.Storage, pctconf.RootStorage(p.config))
	p.bytes = int64(s.RootfsGiB) << 30
	if s.RootfsGiB == 0 {
		var err error
		if p.bytes, err = pctconf.ParseSize(pctconf.Root(p.config)["size"]); err != nil {
			return driver.Faultf(driver.ErrRefused, "name the size of the root file system", "the archive does not say it: %s", err)
		}
	}
	switch {
	case p.storage == "" || strings.HasPrefix(p.storage, "-") || strings.ContainsAny(p.storage, ":,/ \n"):
		return driver.Faultf(driver.ErrRefused, "pvesm status lists the storages", "%q is not a valid name of a storage", p.storage)
	case p.bytes <= 0:
		return driver.Faultf(driver.ErrRefused, "", "a root file system of %d GiB", s.RootfsGiB)
	}
	p.size = strconv.FormatFloat(float64(p.bytes)/(1<<30), 'f', -1, 64)
	p.options["rootfs"] = p.storage + ":" + p.size
	return nil
}

// setNet makes the guest get a fresh MAC: pct draws one for a net0 without one,
// and for all interfaces with --unique; with both, it loses the given net0.
func (p *plan) setNet(o driver.Net) error {
	archived, _, err := p.config.Net(0)
	if err != nil {
		archived = driver.Net{} // newPlan refuses such an archive
	}
	if o.Bridge == "" {
		p.bridge = archived.Bridge
		p.options["unique"] = "1"
		if o != (driver.Net{}) {
			return driver.Faultf(driver.ErrRefused, "name the bridge too", "settings of the network without a bridge")
		}
		return nil
	}
	for i := 1; i <= 31; i++ {
		if _, more := p.config.Get("net" + strconv.Itoa(i)); more {
			return driver.Faultf(driver.ErrArchive, "bake it with net0 alone", "it has net%d, whose MAC the new guest would share", i)
		}
	}
	p.bridge = o.Bridge
	return p.option("net0", archived.With(o).String())
}

// set sets the other options.
func (p *plan) set(s driver.Spec) error {
	var errs []error
	for key, value := range map[string]string{
		"hostname": s.Hostname, "cores": positive(s.Cores), "memory": positive(s.MemoryMiB), "swap": number0(s.SwapMiB), "onboot": bit(s.OnBoot), "nameserver": s.Nameserver,
	} {
		if value != "" {
			errs = append(errs, p.option(key, value))
		}
	}
	const maxDescription = 8192 // PVE's own limit
	switch {
	case len(s.Description) > maxDescription:
		errs = append(errs, driver.Faultf(driver.ErrRefused, "", "the description of %d bytes exceeds the limit of %d", len(s.Description), maxDescription))
	case s.Description != "":
		p.options["description"] = s.Description
	}
	return errors.Join(errs...)
}

// option checks a value as PVE does.
func (p *plan) option(key, value string) error {
	canonical, err := pctconf.Canonical(key, value)
	if err != nil {
		return driver.Faultf(driver.ErrRefused, "", "%s", err)
	}
	p.options[key] = canonical
	return nil
}

// args returns the command line. Key and value are one word, because a
// description may begin with a hyphen.
func (p *plan) args(vmid int, archive string) []string {
	args := []string{"restore", strconv.Itoa(vmid), archive}
	for _, key := range slices.Sorted(maps.Keys(p.options)) {
		args = append(args, "--"+key+"="+p.options[key])
	}
	return args
}

func positive(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func number0(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}

func bit(on *bool) string {
	if on == nil {
		return ""
	}
	return pctconf.FormatBool(*on)
}
