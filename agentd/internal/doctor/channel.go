package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/agentd/internal/identity"
	"github.com/felhom/felhom-golden/agentd/internal/listener"
	"github.com/felhom/felhom-golden/internal/checks"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/pin"
)

const (
	// handshakeTimeout bounds one handshake.
	handshakeTimeout = 3 * time.Second
	// expirySoon is how long before its end a certificate should have been
	// renewed long ago.
	expirySoon = 90 * 24 * time.Hour
)

func (d doctor) addresses() ([]netip.AddrPort, error) {
	return listener.Addresses(d.Config.Listen, d.Config.Bridge, config.DefaultPort)
}

func (d doctor) address(context.Context) []checks.Finding {
	addrs, err := d.addresses()
	if err != nil {
		return checks.FromError(fault.Wrap(fault.NotReady, err), "is the bridge up? set bridge or listen in the configuration")
	}
	var found []checks.Finding
	var lines []string
	for _, a := range addrs {
		name := interfaceOf(a.Addr())
		switch {
		case a.Addr().IsUnspecified():
			found = append(found, checks.Fail(fault.Invalid, "name the addresses of the bridge in listen, or leave it out", "listen has %s, which is every interface of this host, and no address that a guest can be told", a))
		case name == "":
			found = append(found, checks.Fail(fault.NotReady, "set listen to an address of this host, or leave it out for those of the bridge", "%s: this host has no such address", a))
		case a.Addr().IsLoopback():
			found = append(found, checks.Warn("set listen to an address of the bridge, or leave it out", "%s is the loopback: no guest reaches it", a))
		default:
			lines = append(lines, fmt.Sprintf("%s (%s)", a, name))
		}
	}
	return orFine(found, "%s", strings.Join(lines, ", "))
}

// interfaceOf returns the interface that has an address, "" if none has it.
func interfaceOf(addr netip.Addr) string {
	all, err := net.Interfaces()
	if err != nil {
		return ""
	}
	for _, i := range all {
		if addrs, err := listener.InterfaceAddresses(i.Name); err == nil && slices.Contains(addrs, addr.Unmap()) {
			return i.Name
		}
	}
	return ""
}

func (d doctor) bridge(context.Context) []checks.Finding {
	var found []checks.Finding
	names := slices.Compact([]string{d.Config.Bridge, cmp.Or(d.Config.Provision.Bridge, d.Config.Bridge)})
	for _, name := range names {
		if err := driver.FindBridge(d.NetDir, name); err != nil {
			if len(d.Config.Listen) > 0 && d.Config.Hypervisor == "" {
				found = append(found, checks.Warn("set bridge in the configuration", "%v; the daemon needs none, because listen is set", err))
				continue
			}
			found = append(found, checks.FromError(fault.Wrap(fault.NotReady, err), "name a bridge of this host in bridge; ip link show type bridge lists them")...)
			continue
		}
		if i, err := net.InterfaceByName(name); err == nil && i.Flags&net.FlagUp == 0 {
			found = append(found, checks.Fail(fault.NotReady, "ip link set "+name+" up; see /etc/network/interfaces", "bridge %s is down", name))
		}
		found = append(found, borrowedAddress(d.NetDir, name)...)
	}
	return orFine(found, "%s", strings.Join(names, ", "))
}

func (d doctor) daemon(ctx context.Context) []checks.Finding {
	h, err := d.Health(ctx)
	if err != nil {
		return checks.FromError(fault.Wrap(fault.NotReady, fmt.Errorf("felhom-agentd does not serve: %w", err)), "systemctl start felhom-agentd; then journalctl -u felhom-agentd")
	}
	var found []checks.Finding
	if info, err := os.Stat(d.Config.HealthSocket); err == nil && info.Mode().Perm()&0o077 != 0 {
		found = append(found, checks.Fail(fault.Invalid, "chmod 600 "+d.Config.HealthSocket, "%s has mode %04o: it is for root alone", d.Config.HealthSocket, info.Mode().Perm()))
	}
	if !h.Ready {
		found = append(found, checks.Fail(fault.NotReady, "see the check of the store, and journalctl -u felhom-agentd", "the daemon answers and is not ready"))
	}
	addrs, err := d.addresses()
	if err == nil {
		if got := slices.Sorted(slices.Values(h.Listen)); !slices.Equal(texts(addrs), got) {
			found = append(found, elsewhere(got, texts(addrs)))
		}
	}
	return orFine(found, "version %s serves %d guests on %s", h.Version, h.Guests, strings.Join(h.Listen, ", "))
}

func texts(addrs []netip.AddrPort) (out []string) {
	for _, a := range addrs {
		out = append(out, a.String())
	}
	slices.Sort(out)
	return out
}

func elsewhere(got, want []string) checks.Finding {
	return checks.Fail(fault.NotReady, "systemctl restart felhom-agentd", "it listens on %s, want %s", strings.Join(got, ", "), strings.Join(want, ", "))
}

// certificates returns the certificates in this host's files.
func (d doctor) certificates() (current, next *x509.Certificate, err error) {
	root, err := os.OpenRoot(filepath.Join(d.Config.StateDir, "tls"))
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	return identity.Certificates(root)
}

// pins compares three things: the certificate that a real handshake shows, the
// files of this host, and what each guest's mount pins.
func (d doctor) pins(ctx context.Context) []checks.Finding {
	current, next, err := d.certificates()
	if err != nil && d.Store == nil && errors.Is(err, fs.ErrNotExist) {
		return []checks.Finding{checks.NotKnown("systemctl start felhom-agentd makes them", "there are no certificates yet")}
	}
	if err != nil {
		return checks.FromError(err, "systemctl restart felhom-agentd makes missing certificates; restore lost keys from a backup, because guests pin them")
	}
	addrs, err := d.addresses()
	if err != nil {
		return []checks.Finding{checks.NotKnown("correct what the check of the address found", "%v", err)}
	}
	var found []checks.Finding
	for _, a := range addrs {
		if err := handshake(ctx, a.String(), pin.Set{pin.SPKIOf(current)}); err != nil {
			found = append(found, d.mismatch(a.String(), err))
		}
	}
	if left := current.NotAfter.Sub(d.Now()); left < expirySoon {
		found = append(found, checks.Warn("systemctl restart felhom-agentd makes a new one from the same key", "the certificate ends on %s", current.NotAfter.Format(time.DateOnly)))
	}
	mounted, count := d.mountedPins(current, next)
	found = append(found, mounted...)
	return orFine(found, "a handshake shows %s; %d mounts pin it", pin.SPKIOf(current), count)
}

// mismatch returns the finding for a handshake that failed.
func (d doctor) mismatch(address string, err error) checks.Finding {
	if _, ok := errors.AsType[*pin.MismatchError](err); ok {
		return checks.Fail(fault.Mismatch, "restart felhom-agentd if its files were replaced; if another process answers, end it (ss -ltnp)", "%s: %v", address, err)
	}
	return checks.Fail(fault.NotReady, "systemctl status felhom-agentd; then look for a firewall on this host", "no handshake with %s: %v", address, err)
}

func handshake(ctx context.Context, address string, pins pin.Set) error {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	conn, err := (&tls.Dialer{Config: pin.ClientTLS(pins)}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// mountedPins looks at endpoint and pins in each guest's bootstrap.json. What a
// guest's root may have written there is compared, and not shown.
func (d doctor) mountedPins(current, next *x509.Certificate) (found []checks.Finding, right int) {
	if d.Store == nil {
		return nil, 0
	}
	records, _, err := d.Store.List()
	if err != nil {
		return nil, 0 // the check of the store says so
	}
	addrs, err := d.addresses()
	if err != nil {
		return nil, 0
	}
	for _, r := range records {
		if r.IsRevoked() || d.isElsewhere(r.VMID) {
			continue
		}
		data, err := d.Mounts.Read(r.VMID, configmount.BootstrapFile, contract.MaxBootstrapBytes)
		if err != nil {
			continue // the check of the mounts says so
		}
		again := fmt.Sprintf("felhom-agentd guest add %d", r.VMID)
		b, findings := contract.Parse(data)
		switch {
		case findings.Err() != nil:
			found = append(found, checks.Fail(fault.Invalid, again, "guest %d: its bootstrap.json is not valid", r.VMID))
		case !accepts(b.LocalAPIPins, current):
			found = append(found, checks.Fail(fault.Mismatch, again+" writes the pins of this host", "guest %d pins another certificate than this host shows: it refuses this host", r.VMID))
		case !accepts(b.LocalAPIPins, next):
			found = append(found, checks.Warn(again, "guest %d does not pin the next key: it will refuse this host after the change to it", r.VMID))
		case !slices.ContainsFunc(addrs, func(a netip.AddrPort) bool { return b.LocalAPIEndpoint.HostPort() == a.String() }):
			found = append(found, checks.Fail(fault.Invalid, again, "guest %d is told another address than this host listens on", r.VMID))
		default:
			right++
		}
	}
	return found, right
}

func accepts(pins pin.Set, leaf *x509.Certificate) bool {
	return pins.Verify(tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}) == nil
}

func sortedNames(m map[string]error) []string { return slices.Sorted(maps.Keys(m)) }
