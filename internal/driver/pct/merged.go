package pct

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

// notRestored are the families of keys of an archive that a restore with a root
// file system on its command line leaves behind. A clone has a root file system
// of its own.
var notRestored = []string{"rootfs", "mp", "unused", "parent", "lock", "template", "snaptime", "snapstate"}

// merged returns the settings that pct restore would give the guest, without its
// root file system and its MACs.
func (p *plan) merged(vmid int) (map[string]string, error) {
	want := map[string]string{"hostname": "CT" + strconv.Itoa(vmid), "memory": "512", "swap": "512"} // PVE's own
	for _, s := range p.config.Settings {
		if !slices.Contains(notRestored, s.Family()) {
			want[s.Key] = s.Value
		}
	}
	for key, value := range p.options {
		switch key {
		case "rootfs", "unique", "description":
		default:
			want[key] = value
		}
	}
	for key, value := range want {
		canonical, err := pctconf.Canonical(key, value)
		if err != nil {
			return nil, err
		}
		want[key] = canonical
		if strings.HasPrefix(key, "net") {
			if want[key], err = withMAC(canonical, ""); err != nil {
				return nil, err
			}
		}
	}
	return want, nil
}

// withMAC returns the value of a netN with another MAC.
func withMAC(value, mac string) (string, error) {
	n, err := pctconf.ParseNet(value)
	if err != nil {
		return "", err
	}
	n.MAC = mac
	return n.String(), nil
}

// fixedKeys are those that PVE changes in no existing guest.
var fixedKeys = []string{"arch", "ostype", "unprivileged"}

// settings returns the options of pct set that give a clone what a restore
// would have given the guest: a clone has all that its template has, protection and
// tags too.
func (p *plan) settings(vmid int, clone *pctconf.Config) (args []string, err error) {
	want, err := p.merged(vmid)
	if err != nil {
		return nil, err
	}
	var extra, fixed []string
	got := map[string]string{}
	for _, s := range clone.Settings {
		if slices.Contains(notRestored, s.Family()) {
			continue
		}
		if got[s.Key], err = pctconf.Canonical(s.Key, s.Value); err != nil {
			got[s.Key] = s.Value // PVE keeps a wrong value; it is replaced
		}
		// Of the fixed ones, PVE detected what the archive does not say, as a restore does.
		if _, isAsked := want[s.Key]; !isAsked && !slices.Contains(fixedKeys, s.Key) {
			extra = append(extra, s.Key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		value := want[key]
		if strings.HasPrefix(key, "net") {
			var n driver.Net
			if n, err = pctconf.ParseNet(got[key]); err == nil {
				if value, err = withMAC(value, n.MAC); err != nil { // without one, PVE draws another at each change
					return nil, err
				}
			}
		}
		switch {
		case got[key] == value || sameNet(key, got[key], value):
		case slices.Contains(fixedKeys, key):
			fixed = append(fixed, fmt.Sprintf("%s %q, want %q", key, got[key], value))
		default:
			args = append(args, "--"+key+"="+value)
		}
	}
	if !slices.Equal(lxcLines(clone), lxcLines(p.config)) {
		fixed = append(fixed, "other lxc.* lines")
	}
	if len(fixed) > 0 {
		return nil, driver.Faultf(driver.ErrNoClone, "remove the template, so that another is made: felhom-agentd template list", "the template was changed, it has %s", strings.Join(fixed, ", "))
	}
	slices.Sort(extra)
	if len(extra) > 0 {
		args = append(args, "--delete="+strings.Join(extra, ","))
	}
	return args, nil
}

// sameNet compares two values of a netN by their meaning.
func sameNet(key, a, b string) bool {
	if !strings.HasPrefix(key, "net") {
		return false
	}
	one, err := pctconf.ParseNet(a)
	other, otherErr := pctconf.ParseNet(b)
	return err == nil && otherErr == nil && one == other
}

func lxcLines(c *pctconf.Config) (lines []string) {
	for _, s := range c.LXC {
		lines = append(lines, s.Key+": "+s.Value)
	}
	return lines
}

// rootSize returns the size that a configuration gives the root file system, 0 if it
// gives none.
func rootSize(c *pctconf.Config) int64 {
	size, err := pctconf.ParseSize(pctconf.Root(c)["size"])
	if err != nil {
		return 0
	}
	return size
}

// settle gives a clone the settings and the size of the plan.
func (d *Driver) settle(ctx context.Context, vmid int, p *plan) error {
	config, digest, err := d.config(ctx, vmid)
	if err != nil {
		return err
	}
	id := strconv.Itoa(vmid)
	args, err := p.settings(vmid, config)
	if err != nil {
		return err
	}
	if len(args) > 0 {
		args = append([]string{"set", id}, args...)
		if digest != "" {
			args = append(args, "--digest", digest)
		}
		_, setErr := d.pct(ctx, args...)
		// "pct set" can fail after it saved, and can exit with 0 and no effect.
		if config, _, err = d.config(ctx, vmid); err != nil {
			return errors.Join(setErr, err)
		}
		left, err := p.settings(vmid, config)
		if err != nil || len(left) > 0 {
			return errors.Join(setErr, err, fmt.Errorf("pct set did not make the clone what was asked for: still to set are %s", strings.Join(left, " ")))
		}
	}
	if rootSize(config) < p.bytes {
		_, resizeErr := d.call(ctx, changeTimeout, d.o.Pct, "resize", id, "rootfs", p.size+"G")
		if config, _, err = d.config(ctx, vmid); err != nil {
			return errors.Join(resizeErr, err)
		}
	}
	if got := rootSize(config); got != p.bytes {
		return fmt.Errorf("the root file system has %d bytes, want %d", got, p.bytes)
	}
	return nil
}
