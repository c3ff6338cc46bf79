package config

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/internal/strictyaml"
)

// Parse reads a configuration. file is only its name for the findings, which
// come all at once as a [*strictyaml.Findings].
func Parse(file string, data []byte) (Config, error) {
	c := defaults()
	doc := strictyaml.Read(file, data, strictyaml.Options{MaxBytes: MaxBytes})
	doc.Root().Fields(c.withRegistries(c.fields()))
	c.checkRegistries(doc)
	c.checkTokens(doc)
	if c.IDMap == IDMapPerGuest && c.Hypervisor != HypervisorLXC {
		doc.Add("id_map", "per-guest needs hypervisor: lxc; on PVE give a guest lxc.idmap lines")
	}
	if err := doc.Err(); err != nil {
		return Config{}, err
	}
	if c.Hypervisor == HypervisorLXC && c.StorageDir == "" {
		c.StorageDir = c.LXCPath
	}
	if c.Provision.Bridge == "" {
		c.Provision.Bridge = c.Bridge
	}
	if c.StoreDir == "" {
		c.StoreDir = filepath.Join(c.StateDir, "guests")
	}
	return c, nil
}

// field is how the value of one key is read.
type field = strictyaml.Field

func (c *Config) fields() map[string]field {
	return map[string]field{
		"host_id":                          {Take: text(&c.HostID, CheckHostID)},
		"hub_url":                          {Take: text(&c.HubURL, checkHubURL)},
		"controller_image":                 {Required: true, Take: text(&c.ControllerImage, checkImage)},
		"controller_image_manifest_digest": {Take: text(&c.ManifestDigest, checkDigest)},
		"controller_image_config_digest":   {Take: text(&c.ConfigDigest, checkDigest)},
		"listen":                           {Take: c.takeListen},
		"status_listen":                    {Take: parsed(c.setStatusListen)},
		"bridge":                           {Take: text(&c.Bridge, checkInterface)},
		"state_dir":                        {Take: text(&c.StateDir, checkPath)},
		"store_dir":                        {Take: text(&c.StoreDir, checkPath)},
		"mounts_dir":                       {Take: text(&c.MountsDir, checkPath)},
		"health_socket":                    {Take: text(&c.HealthSocket, checkSocket)},
		"ready_wait":                       {Take: readyWait(&c.ReadyWait)},
		"profile":                          {Take: profile(&c.Profile)},
		"container":                        {Take: container(&c.Container)},
		"env_file":                         {Take: text(&c.EnvFile, checkPath)},
		"registry_mirror":                  {Take: text(&c.RegistryMirror, checkRegistryHost)},
		"id_map_base":                      {Take: number(&c.IDMapBase, 0, math.MaxUint32-1)},
		"storage": {Take: func(v strictyaml.Value) {
			v.Fields(map[string]field{"folder": {Required: true, Take: text(&c.StorageDir, checkPath)}})
		}},
		"id_map":      {Take: word(&c.IDMap, IDMapShared, IDMapPerGuest)},
		"mount_owner": {Take: word(&c.MountOwner, MountOwnerHost, MountOwnerGuest)},
		"hypervisor":  {Take: word(&c.Hypervisor, HypervisorPCT, HypervisorLXC)},
		"origin":      {Take: word(&c.Origin, OriginOff, OriginObserve, OriginEnforce)},
		"firewall":    {Take: word(&c.Firewall, FirewallOff, FirewallApply)},
		"lxc": {Take: func(v strictyaml.Value) {
			v.Fields(map[string]field{"path": {Required: true, Take: text(&c.LXCPath, checkPath)}})
		}},
		"provision": {Take: func(v strictyaml.Value) {
			fields := guestFields(&c.Provision.Guest)
			// A key of one guest only has no default, or its default is a key of the
			// top level.
			for _, own := range []string{"vmid", "hostname", "ip", "ip6", "image", "profile", "ready_wait", "container", "env_file", "repositories"} {
				delete(fields, own)
			}
			fields["clone"] = field{Take: word(&c.Provision.Clone, CloneNever, CloneAuto, CloneAlways)}
			fields["template_vmids"] = field{Take: parsed(c.Provision.TemplateVMIDs.set)}
			fields["wait"] = field{Take: duration(&c.Provision.Wait, 0, 24*time.Hour)}
			v.Fields(fields)
		}},
		"tokens":  {Take: c.takeTokens},
		"key_dir": {Take: text(&c.KeyDir, checkPath)},
		"limits": {Take: func(v strictyaml.Value) {
			l := &c.Limits
			v.Fields(map[string]field{
				"connections_per_source": {Take: number(&l.ConnectionsPerSource, 1, 4096)},
				"connections_total":      {Take: number(&l.ConnectionsTotal, 1, 65536)},
				"handshakes_per_second":  {Take: number(&l.HandshakesPerSecond, 1, 10000)},
				"reports_per_minute":     {Take: number(&l.ReportsPerMinute, 1, 60000)},
				"token_overlap":          {Take: duration(&l.TokenOverlap, 0, 7*24*time.Hour)},
			})
		}},
	}
}

func text(into *string, check func(string) error) func(strictyaml.Value) {
	return parsed(func(s string) error {
		err := check(s)
		if err == nil {
			*into = s
		}
		return err
	})
}

// parsed reads a text that has another type in Go. Numbers need no quotes.
func parsed(set func(string) error) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		if s, ok := v.Raw(); ok {
			if err := set(s); err != nil {
				v.Add("%v", err)
			}
		}
	}
}

func number(into *int, low, high int) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		if n, ok := v.IntIn(low, high); ok {
			*into = n
		}
	}
}

func duration(into *time.Duration, low, high time.Duration) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		s, ok := v.Raw()
		if !ok {
			return
		}
		d, err := time.ParseDuration(s)
		if err != nil || d < low || d > high {
			v.Add("want a duration like 10m, from %v to %v, got %s", low, high, v)
			return
		}
		*into = d
	}
}

func boolean(set func(bool)) func(strictyaml.Value) {
	return func(v strictyaml.Value) {
		if b, ok := v.Bool(); ok {
			set(b)
		}
	}
}

func word(into *string, words ...string) func(strictyaml.Value) {
	return text(into, func(s string) error {
		if !slices.Contains(words, s) {
			return fmt.Errorf("want %s, got %q", strings.Join(words, " or "), s)
		}
		return nil
	})
}

// setStatusListen takes a loopback address alone: the page has no login.
func (c *Config) setStatusListen(s string) error {
	a, err := netip.ParseAddrPort(s)
	switch {
	case err != nil:
		return fmt.Errorf("want a loopback address and a port like 127.0.0.1:8444, got %q", s)
	case !a.Addr().IsLoopback() || a.Addr().Zone() != "":
		return fmt.Errorf("%s is not a loopback address, and the page asks for no password; reach it by: ssh -L 8444:127.0.0.1:8444", a.Addr())
	case a.Port() == 0:
		return errors.New("port 0 is a different one at each start")
	}
	c.StatusListen = a
	return nil
}

func (c *Config) takeListen(v strictyaml.Value) {
	if v.Items(c.takeAddress) && v.Len() == 0 {
		v.Add("want a list of address:port, got %s", v)
	}
}

func (c *Config) takeAddress(_ int, v strictyaml.Value) {
	s, ok := v.Raw()
	if !ok {
		return
	}
	a, err := netip.ParseAddrPort(s)
	switch {
	case err != nil:
		v.Add("want address:port like 192.0.2.7:%d, got %s", DefaultPort, v)
	case a.Addr().IsUnspecified():
		v.Add("%s means every interface; name the bridge's own addresses, or set bridge and leave listen out", a.Addr())
	case a.Addr().IsMulticast() || a.Addr().Zone() != "" || a.Addr().IsLinkLocalUnicast() && a.Addr().Is6():
		v.Add("guests cannot be told to use %s; name an ordinary address of the bridge", a.Addr())
	case a.Port() == 0:
		v.Add("port 0 is a different one at each start; guests need a fixed one")
	case slices.Contains(c.Listen, a):
		v.Add("%s is given twice", a)
	default:
		c.Listen = append(c.Listen, a)
	}
}
