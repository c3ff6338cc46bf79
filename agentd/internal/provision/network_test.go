package provision_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/drivertest"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

func fixed(text string) pctconf.IP { return pctconf.Fixed(netip.MustParsePrefix(text)) }

// TestCheckNetwork: an address that something else has, and a guest without a
// way to the local API, which is at 192.0.2.1, are refused before anything is
// made, with all that is wrong.
func TestCheckNetwork(t *testing.T) {
	auto := pctconf.IP{Word: pctconf.Auto}
	manual := pctconf.IP{Word: pctconf.Manual}
	gateway := netip.MustParseAddr("198.51.100.1")
	for _, c := range []struct {
		name string
		net  driver.Net
		want []string // none: it is made
	}{
		{"free", driver.Net{IP: fixed("192.0.2.9/24")}, nil},
		{"dhcp", driver.Net{}, nil},
		{"another guest's", driver.Net{IP: fixed("192.0.2.7/24")}, []string{"the address 192.0.2.7 is guest 8100's already"}},
		{"another guest's IPv6", driver.Net{IP6: fixed("2001:db8::7/64")}, []string{"the address 2001:db8::7 is guest 8100's already"}},
		{"both", driver.Net{IP: fixed("192.0.2.7/24"), IP6: fixed("2001:db8::7/64")}, []string{"192.0.2.7 is guest", "2001:db8::7 is guest"}},
		{"in another VLAN", driver.Net{IP: fixed("192.0.2.7/24"), VLAN: 9}, nil},
		{"of the bridge", driver.Net{IP: fixed("192.0.2.2/24")}, []string{"the address 192.0.2.2 is this host's own on bridge vmbr0"}},
		{"of the local API", driver.Net{IP: fixed("192.0.2.1/24")}, []string{"the address 192.0.2.1 is this host's own"}},
		{"IPv6 of the bridge", driver.Net{IP6: fixed("2001:db8::1/64")}, []string{"the address 2001:db8::1 is this host's own"}},
		{"no route", driver.Net{IP: fixed("198.51.100.7/24")}, []string{"192.0.2.1 is not in 198.51.100.0/24, and there is no gateway"}},
		{"route", driver.Net{IP: fixed("198.51.100.7/24"), Gateway: gateway}, nil},
		{"IPv6 alone", driver.Net{IP: manual, IP6: auto}, []string{"the guest has IPv6 alone, and the local API is at the IPv4 address 192.0.2.1"}},
		{"fixed IPv6 alone", driver.Net{IP: manual, IP6: fixed("2001:db8::9/64")}, []string{"the guest has IPv6 alone"}},
		{"set by the guest", driver.Net{IP: manual}, nil},
		{"dual stack", driver.Net{IP6: auto}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.BridgeAddresses = func(string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::1")}, nil
			}
			other := driver.Net{Bridge: "vmbr0", IP: fixed("192.0.2.7/24"), IP6: fixed("2001:db8::7/64")}
			if err := r.hv.Restore(t.Context(), 8100, driver.Spec{Archive: archive, Net: other}, nil); err != nil {
				t.Fatal(err)
			}
			j := job()
			j.Spec.Net = c.net
			j.Spec.Net.Bridge = "vmbr0"
			_, err := r.Apply(t.Context(), j)
			if len(c.want) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %q in it", err, want)
				}
			}
			if fault.Of(err) != fault.Invalid {
				t.Errorf("exit code %d, want %d", fault.Of(err), fault.Invalid)
			}
			if len(r.hv.VMIDs()) != 1 {
				t.Errorf("guests %v, want the other alone", r.hv.VMIDs())
			}
		})
	}
}

// TestAllFindingsOfCheck: what the hypervisor finds hides nothing of the network's.
func TestAllFindingsOfCheck(t *testing.T) {
	r := newRig(t)
	j := job()
	j.Spec.Archive, j.Spec.Net = "/none.tar.zst", driver.Net{Bridge: "nobr0", IP: fixed("192.0.2.1/24")}
	_, err := r.Apply(t.Context(), j)
	for _, want := range []string{"/none.tar.zst", "nobr0", "this host's own"} {
		if err == nil || strings.Count(err.Error(), want) == 0 {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
}

// TestKeptAddress: a fixed IPv6 address of the golden image is checked like
// one that was asked for.
func TestKeptAddress(t *testing.T) {
	r := newRig(t)
	r.hv.AddArchive(archive, drivertest.FakeArchive{Config: []byte(strings.Replace(pctConf, "ip=dhcp", "ip=dhcp,ip6=2001:db8::7/64", 1))})
	if _, err := r.Apply(t.Context(), job()); err != nil {
		t.Fatal(err)
	}
	j := job()
	j.VMID++
	if _, err := r.Apply(t.Context(), j); err == nil || !strings.Contains(err.Error(), "2001:db8::7 is guest 8200's already") {
		t.Errorf("error %v", err)
	}
}

// change has each guest told what change makes of it.
func (r *rig) change(change func(*contract.Bootstrap)) {
	before := r.Bootstrap
	r.Bootstrap = func(vmid int, asked provision.Asked) (contract.Bootstrap, error) {
		boot, err := before(vmid, asked)
		change(&boot)
		return boot, err
	}
}

// TestWarningsOfCheck: they are told at the step check, and nothing fails.
func TestWarningsOfCheck(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	preloaded := func(image, hub string) func(*rig, *provision.Job) {
		return func(r *rig, j *provision.Job) {
			j.Spec.Archive = file("g.tar.zst", "")
			file("g.tar.zst.provenance.json", `{"schema_version": 1, "inputs": {"script a": "1", "image `+image+`": "sha256:1"}}`)
			r.hv.AddArchive(j.Spec.Archive, drivertest.FakeArchive{Config: []byte(pctConf)})
			r.change(func(b *contract.Bootstrap) { b.HubURL = hub })
		}
	}
	static := driver.Net{Bridge: "vmbr0", IP: fixed("192.0.2.9/24")}
	for _, c := range []struct {
		name   string
		change func(*rig, *provision.Job)
		want   string // "": no note
	}{
		{"static", func(*rig, *provision.Job) {}, "check: warning: a fixed address and no nameserver: it must look up registry.example and hub.example; hint: give --nameserver"},
		{"static IPv6", func(_ *rig, j *provision.Job) { j.Spec.Net.IP6, j.Spec.Net.IP = fixed("2001:db8::9/64"), static.IP }, "no nameserver"},
		{"dhcp", func(_ *rig, j *provision.Job) { j.Spec.Net.IP = pctconf.IP{} }, ""},
		{"dual stack with a lease", func(_ *rig, j *provision.Job) { j.Spec.Net.IP6 = pctconf.IP{Word: pctconf.DHCP} }, ""},
		{"given", func(_ *rig, j *provision.Job) { j.Spec.Nameserver = "192.0.2.1" }, ""},
		{"in the archive", func(r *rig, _ *provision.Job) {
			r.hv.AddArchive(archive, drivertest.FakeArchive{Config: []byte(pctConf + "nameserver: 192.0.2.1\n")})
		}, ""},
		{"image by address", func(_ *rig, j *provision.Job) { j.Image = "192.0.2.1:5000/a:v1" }, "it must look up hub.example;"},
		{"of the host", func(r *rig, _ *provision.Job) {
			r.Resolver = file("good", "nameserver 127.0.0.53\nnameserver 192.0.2.53\n")
		}, "no nameserver is given: the guest gets this host's, 192.0.2.53"},
		{"of a host with a stub", func(r *rig, _ *provision.Job) { r.Resolver = file("stub", "nameserver 127.0.0.53\nnameserver ::1\n") }, "warning: a fixed address and no nameserver, and "},
		{"through the host", func(r *rig, _ *provision.Job) {
			r.change(func(b *contract.Bootstrap) { b.RegistryProxy = true })
		}, "it must look up hub.example;"},
		{"through the host and no hub", func(r *rig, _ *provision.Job) {
			r.change(func(b *contract.Bootstrap) { b.RegistryProxy, b.HubURL = true, "" })
		}, ""},
		{"preloaded", preloaded("registry.example/controller:v1", "https://hub.example"), "it must look up hub.example;"},
		{"preloaded and hub by address", preloaded("registry.example/controller:v1", "https://192.0.2.2"), ""},
		{"preloaded and no hub", preloaded("registry.example/controller:v1", ""), ""},
		{"another image preloaded", preloaded("registry.example/controller:v2", ""), "it must look up registry.example;"},
		{"of the hypervisor", func(r *rig, j *provision.Job) { r.hv.SetWarnings("warning: few"); j.Spec.Nameserver = "192.0.2.1" }, "check: warning: few"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, j := newRig(t), job()
			j.Spec.Net = static
			c.change(r, &j)
			if _, err := r.Apply(t.Context(), j); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(r.steps.notes, "\n"); c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("notes %q, want %q", got, c.want)
			}
		})
	}
}
