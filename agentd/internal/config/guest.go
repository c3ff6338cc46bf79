package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/pctconf"
	"github.com/felhom/felhom-golden/internal/strictyaml"
)

// Guest is a guest to make. A zero value means: by default, or as the golden
// image says.
type Guest struct {
	VMID     int
	Golden   string // absolute path of an archive, or a volume ID of PVE
	Hostname string
	Storage  string // PVE: where the root file system goes
	Rootfs   int    // GiB
	Bridge   string
	VLAN     int
	IP       pctconf.IP // of eth0; an IPv6 address is that of a guest without IPv4
	IP6      pctconf.IP
	Gateway  netip.Addr
	Gateway6 netip.Addr

	Nameserver string // addresses, with blanks between them
	Cores      int
	Memory     int // MiB
	Swap       *int
	OnBoot     *bool
	Start      *bool // nil: yes

	Asked

	Place string // FILE:LINE of its specification; "" for flags
}

// About returns what findings of the guest start with: its place and its VMID.
func (g Guest) About() string {
	about := fmt.Sprintf("guest %d", g.VMID)
	if g.Place != "" {
		about = g.Place + ": " + about
	}
	return about
}

// With returns g, with the values of d for what g does not set.
func (g Guest) With(d Guest) Guest {
	g.Golden = cmp.Or(g.Golden, d.Golden)
	g.Storage = cmp.Or(g.Storage, d.Storage)
	g.Rootfs = cmp.Or(g.Rootfs, d.Rootfs)
	g.Bridge = cmp.Or(g.Bridge, d.Bridge)
	g.VLAN = cmp.Or(g.VLAN, d.VLAN)
	g.Nameserver = cmp.Or(g.Nameserver, d.Nameserver)
	// Without a fixed address, a guest gets its gateway from the network.
	if g.IP.IsFixed() && !g.Gateway.IsValid() && !g.Gateway6.IsValid() && d.Gateway.IsValid() && d.Gateway.Is4() == g.IP.Prefix.Addr().Is4() {
		g.Gateway = d.Gateway
	}
	if n := g.net(); n.IP6.IsFixed() && !n.Gateway6.IsValid() {
		g.Gateway6 = d.Gateway6
	}
	g.Cores = cmp.Or(g.Cores, d.Cores)
	g.Memory = cmp.Or(g.Memory, d.Memory)
	if g.Swap == nil {
		g.Swap = d.Swap
	}
	if g.OnBoot == nil {
		g.OnBoot = d.OnBoot
	}
	if g.Start == nil {
		g.Start = d.Start
	}
	return g
}

// Check finds what no single key can be wrong about, and what is missing. That
// a golden image is missing is found where it is known whether the guest exists.
func (g Guest) Check() error {
	var all []error
	if g.VMID == 0 {
		all = append(all, errors.New("vmid: is missing"))
	}
	all = append(all, g.checkAddresses()...)
	return errors.Join(all...)
}

// Set reads the value of one key as in a specification; it is for flags.
func (g *Guest) Set(key, value string) error {
	f, ok := guestFields(g)[key]
	if !ok {
		return fmt.Errorf("no key %q", key)
	}
	doc, v := strictyaml.Scalar(key, value)
	f.Take(v)
	if doc.Err() != nil {
		return errors.New(doc.Findings().List[0].Message)
	}
	return nil
}

func guestFields(g *Guest) map[string]field {
	return map[string]field{
		"vmid":       {Take: parsed(func(s string) (err error) { g.VMID, err = token.ParseVMID(s); return err })},
		"golden":     {Take: text(&g.Golden, checkGolden)},
		"image":      {Take: text(&g.Image, checkImage)},
		"profile":    {Take: profile(&g.Profile)},
		"ready_wait": {Take: readyWait(&g.ReadyWait)},
		"container":  {Take: container(&g.Container)},
		"env_file":   {Take: text(&g.EnvFile, checkPath)},
		"repositories": {Take: func(v strictyaml.Value) {
			g.Repositories = []string{}
			takeRepositories(v, func(r Repository) { g.Repositories = append(g.Repositories, r.String()) })
		}},
		"hostname":   {Take: text(&g.Hostname, conforms("hostname"))},
		"storage":    {Take: text(&g.Storage, checkStorage)},
		"rootfs":     {Take: number(&g.Rootfs, 1, 1<<20)},
		"bridge":     {Take: text(&g.Bridge, checkInterface)},
		"vlan":       {Take: number(&g.VLAN, 1, 4094)},
		"ip":         {Take: parsed(func(s string) (err error) { g.IP, err = parseIP(s); return err })},
		"ip6":        {Take: parsed(func(s string) (err error) { g.IP6, err = parseIP6(s); return err })},
		"gateway":    {Take: parsed(parseGateway(&g.Gateway, "192.0.2.1"))},
		"gateway6":   {Take: parsed(parseGateway(&g.Gateway6, "fe80::1"))},
		"nameserver": {Take: text(&g.Nameserver, checkNameservers)},
		"cores":      {Take: number(&g.Cores, 1, 8192)},
		"memory":     {Take: number(&g.Memory, 16, 1<<31-1)},
		"swap": {Take: func(v strictyaml.Value) {
			mib := 0
			number(&mib, 0, 1<<31-1)(v)
			g.Swap = &mib
		}},
		"onboot": {Take: boolean(func(v bool) { g.OnBoot = &v })},
		"start":  {Take: boolean(func(v bool) { g.Start = &v })},
	}
}

// maxGuests bounds a specification: one host's guests.
const maxGuests = 1000

// ParseGuests reads a specification of several guests. file is only its name
// for the findings, which come all at once as a [*strictyaml.Findings].
func ParseGuests(file string, data []byte) ([]Guest, error) {
	var list []Guest
	version := 0
	doc := strictyaml.Read(file, data, strictyaml.Options{MaxBytes: MaxBytes})
	doc.Root().Fields(map[string]field{
		"version": {Required: true, Take: number(&version, 1, 1)},
		"guests": {Required: true, Take: func(v strictyaml.Value) {
			switch n := v.Len(); {
			case n == 0:
				v.Add("want a list of 1 to %d guests, got %s", maxGuests, v)
				return
			case n > maxGuests:
				v.Add("want a list of 1 to %d guests, got %d", maxGuests, n)
				return
			}
			lines := map[int]int{}
			v.Items(func(_ int, item strictyaml.Value) {
				var g Guest
				fields := guestFields(&g)
				vmid := fields["vmid"]
				vmid.Required = true
				fields["vmid"] = vmid
				item.Fields(fields)
				if first, twice := lines[g.VMID]; twice && g.VMID != 0 {
					doc.Add(strictyaml.Join(item.Path, "vmid"), "guest %d is given twice; the first is in line %d", g.VMID, first)
				}
				lines[g.VMID] = item.Line()
				g.Place = fmt.Sprintf("%s:%d", file, item.Line())
				list = append(list, g)
			})
		}},
	})
	if err := doc.Err(); err != nil {
		return nil, err
	}
	return list, nil
}

// checkGolden accepts a path or a volume ID: STORAGE:backup/FILE.
func checkGolden(s string) error {
	storage, volume, isVolume := strings.Cut(s, ":")
	switch {
	case filepath.IsAbs(s) && filepath.Clean(s) == s:
		return nil
	case isVolume && checkStorage(storage) == nil && strings.HasPrefix(volume, "backup/") && !strings.Contains(volume, ".."):
		return nil
	}
	return fmt.Errorf("want a clean absolute path or a volume like local:backup/vzdump-lxc-9100-2026_11_26-12_00_00.tar.zst, got %q", s)
}

func checkStorage(s string) error {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
	}) {
		return fmt.Errorf("want the name of a storage, got %q", s)
	}
	return nil
}

// conforms checks a value against the grammar of pct.conf.
func conforms(key string) func(string) error {
	return func(s string) error {
		_, err := pctconf.Canonical(key, s)
		if err != nil {
			return fmt.Errorf("%s", strings.TrimPrefix(err.Error(), key+": "))
		}
		return nil
	}
}
