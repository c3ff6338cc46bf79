package recipe

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/golden/internal/rules"
	"github.com/felhom/felhom-golden/internal/pctconf"
	"github.com/felhom/felhom-golden/internal/strictyaml"
)

// setting is one line of pct.conf with the key of the recipe it comes from.
type setting struct{ from, key, value string }

func (r *Recipe) settings() []setting {
	g := r.Guest
	list := []setting{
		{"arch", "arch", r.Arch},
		{"guest.hostname", "hostname", g.Hostname},
		{"guest.memory", "memory", strconv.Itoa(g.Memory)},
		{"guest.swap", "swap", strconv.Itoa(g.Swap)},
		{"suite", "ostype", "debian"},
		{"guest.onboot", "onboot", digit(g.OnBoot)},
		// The volume's name is replaced at restore; its size is what counts.
		{"guest.rootfs", "rootfs", fmt.Sprintf("%s:vm-%d-disk-0,size=%s", g.Storage, g.VMID, g.RootFS)},
		{"guest", "unprivileged", "1"}, // a restore takes a missing line for "privileged"
	}
	for _, s := range []setting{
		{"guest.features", "features", g.Features},
		{"guest.net0", "net0", g.Net0},
		{"guest.tags", "tags", strings.Join(slices.Sorted(slices.Values(g.Tags)), ";")},
	} {
		if s.value != "" {
			list = append(list, s)
		}
	}
	if g.Cores > 0 {
		list = append(list, setting{"guest.cores", "cores", strconv.Itoa(g.Cores)})
	}
	return list
}

// digit returns a switch as pct.conf has it.
func digit(on bool) string {
	if on {
		return "1"
	}
	return "0"
}

// Config returns the guest's pct.conf.
func (r *Recipe) Config() (pctconf.Config, error) {
	c := pctconf.Config{Description: r.Guest.Description}
	for _, s := range r.settings() {
		if err := c.Set(s.key, s.value); err != nil {
			return pctconf.Config{}, fmt.Errorf("%s: %w", s.from, err)
		}
	}
	return c, nil
}

// checkConfig checks every value by pct.conf's grammar, because PVE warns of a
// wrong line and then takes it into the new guest.
func checkConfig(doc *strictyaml.Document, r *Recipe) {
	for _, s := range r.settings() {
		var c pctconf.Config
		if err := c.Set(s.key, s.value); err != nil {
			doc.Add(s.from, "%v", err)
			continue
		}
		if why := (pctconf.Setting{Key: s.key, Value: s.value}).ReachesOut(nil); why != "" {
			doc.Add(s.from, "%s", why)
		}
	}
	if _, err := pctconf.ParseSize(r.Guest.RootFS); err != nil {
		doc.Add("guest.rootfs", "%v", err)
	}
	if features, err := pctconf.ParseProperties(r.Guest.Features, ""); err == nil && (!features.IsOn("nesting") || !features.IsOn("keyctl")) {
		doc.Add("guest.features", "want nesting=1 and keyctl=1, which Docker needs")
	}
	if n := len(r.Guest.Description); n > maxDescription {
		doc.Add("guest.description", "%d bytes, which exceeds the limit of %d", n, maxDescription)
	}
}

// maxDescription is what PVE takes for an existing guest.
const maxDescription = 8192

// checkSeal refuses what the seal would refuse once the packages are installed.
func checkSeal(doc *strictyaml.Document, s Seal) {
	if len(s.Enable) > 0 && len(s.Skip) > 0 {
		doc.Add("seal", "rules to enable and rules to skip are given, want one of the two")
	}
	for _, l := range []struct {
		at  string
		ids []string
	}{{"seal.enable", s.Enable}, {"seal.skip", s.Skip}} {
		for i, id := range l.ids {
			if why := rules.Unsealable(id); why != "" {
				doc.Add(strictyaml.Index(l.at, i), "%s %q; felhom-golden seal --list shows those that it applies", why, id)
			}
		}
	}
}
