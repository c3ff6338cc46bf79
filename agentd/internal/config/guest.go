package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

// Guest is a guest that shall be. A zero value means: by default, or as the
// golden says.
type Guest struct {
	VMID     int
	Golden   string // absolute path of an archive, or a volume ID of PVE
	Image    string // of the controller
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
}

// With returns g with what it does not say itself from d.
func (g Guest) With(d Guest) Guest {
	g.Golden = cmp.Or(g.Golden, d.Golden)
	g.Storage = cmp.Or(g.Storage, d.Storage)
	g.Rootfs = cmp.Or(g.Rootfs, d.Rootfs)
	g.Bridge = cmp.Or(g.Bridge, d.Bridge)
	g.VLAN = cmp.Or(g.VLAN, d.VLAN)
	g.Nameserver = cmp.Or(g.Nameserver, d.Nameserver)
	// Without an address of its own a guest learns the gateway.
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

// Check finds what no single key can be wrong about, and what is missing.
func (g Guest) Check() error {
	var all []error
	if g.VMID == 0 {
		all = append(all, errors.New("vmid: is missing"))
	}
	if g.Golden == "" {
		all = append(all, errors.New("golden: is missing: name an archive, or set provision.golden in the configuration"))
	}
	all = append(all, g.checkAddresses()...)
	return errors.Join(all...)
}

// Set reads one key as it stands in a specification; for flags.
func (g *Guest) Set(key, value string) error {
	f, ok := guestFields(g)[key]
	if !ok {
		return fmt.Errorf("no key %q", key)
	}
	p := parser{}
	var n yaml.Node
	if err := n.Encode(value); err != nil {
		return err
	}
	// As the YAML reader would see the plain text.
	if _, err := strconv.Atoi(value); err == nil {
		n.Tag = "!!int"
	}
	f.take(&p, key, &n)
	if len(p.findings) > 0 {
		return errors.New(p.findings[0].Message)
	}
	return nil
}

func guestFields(g *Guest) map[string]field {
	return map[string]field{
		"vmid":       {take: text2(func(s string) (err error) { g.VMID, err = token.ParseVMID(s); return err })},
		"golden":     {take: text(&g.Golden, checkGolden)},
		"image":      {take: text(&g.Image, checkImage)},
		"hostname":   {take: text(&g.Hostname, conforms("hostname"))},
		"storage":    {take: text(&g.Storage, checkStorage)},
		"rootfs":     {take: number(&g.Rootfs, 1, 1<<20)},
		"bridge":     {take: text(&g.Bridge, checkInterface)},
		"vlan":       {take: number(&g.VLAN, 1, 4094)},
		"ip":         {take: text2(func(s string) (err error) { g.IP, err = parseIP(s); return err })},
		"ip6":        {take: text2(func(s string) (err error) { g.IP6, err = parseIP6(s); return err })},
		"gateway":    {take: text2(parseGateway(&g.Gateway, "192.0.2.1"))},
		"gateway6":   {take: text2(parseGateway(&g.Gateway6, "fe80::1"))},
		"nameserver": {take: text(&g.Nameserver, checkNameservers)},
		"cores":      {take: number(&g.Cores, 1, 8192)},
		"memory":     {take: number(&g.Memory, 16, 1<<31-1)},
		"swap": {take: func(p *parser, key string, n *yaml.Node) {
			v := 0
			number(&v, 0, 1<<31-1)(p, key, n)
			g.Swap = &v
		}},
		"onboot": {take: boolean(func(v bool) { g.OnBoot = &v })},
		"start":  {take: boolean(func(v bool) { g.Start = &v })},
	}
}

// maxGuests bounds a specification: one host's guests.
const maxGuests = 1000

// ParseGuests reads a specification of several guests. file is only its name
// for the findings, which come all at once as an [*Error].
func ParseGuests(file string, data []byte) ([]Guest, error) {
	var list []Guest
	p := parser{}
	version := 0
	p.document(data, map[string]field{
		"version": {required: true, take: number(&version, 1, 1)},
		"guests": {required: true, take: func(p *parser, key string, n *yaml.Node) {
			if n.Kind != yaml.SequenceNode || len(n.Content) == 0 || len(n.Content) > maxGuests {
				p.add(n, key, "want a list of 1 to %d guests, found %s", maxGuests, describe(n))
				return
			}
			lines := map[int]int{}
			for i, item := range n.Content {
				var g Guest
				fields := guestFields(&g)
				vmid := fields["vmid"]
				vmid.required = true
				fields["vmid"] = vmid
				name := fmt.Sprintf("%s[%d]", key, i)
				p.mapping(name, item, fields)
				if first, twice := lines[g.VMID]; twice && g.VMID != 0 {
					p.add(item, name+".vmid", "guest %d stands twice; the first is in line %d", g.VMID, first)
				}
				lines[g.VMID] = item.Line
				list = append(list, g)
			}
		}},
	})
	if err := p.result(file); err != nil {
		return nil, err
	}
	return list, nil
}

// text2 takes a text that is something else in Go.
func text2(set func(string) error) func(*parser, string, *yaml.Node) {
	var ignored string
	return text(&ignored, set)
}

func word(into *string, words ...string) func(*parser, string, *yaml.Node) {
	return text(into, func(s string) error {
		for _, w := range words {
			if s == w {
				return nil
			}
		}
		return fmt.Errorf("want %s, found %q", strings.Join(words, " or "), s)
	})
}

func boolean(set func(bool)) func(*parser, string, *yaml.Node) {
	return func(p *parser, key string, n *yaml.Node) {
		v, err := strconv.ParseBool(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil || n.Value != "true" && n.Value != "false" {
			p.add(n, key, "want true or false, found %s", describe(n))
			return
		}
		set(v)
	}
}

// checkGolden takes a path or a volume ID: STORAGE:backup/FILE.
func checkGolden(s string) error {
	storage, volume, isVolume := strings.Cut(s, ":")
	switch {
	case filepath.IsAbs(s) && filepath.Clean(s) == s:
		return nil
	case isVolume && checkStorage(storage) == nil && strings.HasPrefix(volume, "backup/") && !strings.Contains(volume, ".."):
		return nil
	}
	return fmt.Errorf("want a clean absolute path or a volume like local:backup/vzdump-lxc-9100-2026_11_26-12_00_00.tar.zst, found %q", s)
}

func checkStorage(s string) error {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
	}) {
		return fmt.Errorf("want the name of a storage, found %q", s)
	}
	return nil
}

// conforms checks a value by the grammar of pct.conf.
func conforms(key string) func(string) error {
	return func(s string) error {
		_, err := pctconf.Canonical(key, s)
		if err != nil {
			return fmt.Errorf("%s", strings.TrimPrefix(err.Error(), key+": "))
		}
		return nil
	}
}
