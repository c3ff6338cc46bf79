package recipe

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

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
		}
	}
}
