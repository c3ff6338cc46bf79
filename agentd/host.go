package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/identity"
	"github.com/felhom/felhom-golden/agentd/internal/listener"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/filelock"
	"github.com/felhom/felhom-golden/internal/pin"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// host is what every command about certificates needs: where the local API is,
// and its certificates.
type host struct {
	addrs    []netip.AddrPort // the first is what guests are told
	identity identity.Identity
}

// tlsPatience is how long a command waits for another one that works on the keys,
// which takes milliseconds.
const tlsPatience = 10 * time.Second

func openHost(ctx context.Context, cfg config.Config, now func() time.Time) (host, error) {
	var h host
	addrs, err := listener.Addresses(cfg.Listen, cfg.Bridge, config.DefaultPort)
	if err != nil {
		return host{}, fault.WrapHint(fault.NotReady, err, "is the bridge up? set bridge or listen in the configuration")
	}
	err = withFiles(ctx, cfg, func(files identity.Files) error {
		h, err = hostFrom(files, addrs, now())
		return err
	})
	return h, err
}

func hostFrom(files identity.Files, addrs []netip.AddrPort, now time.Time) (host, error) {
	var bare []netip.Addr
	for _, a := range addrs {
		bare = append(bare, a.Addr())
	}
	id, err := files.Load(bare, now)
	return host{addrs: addrs, identity: id}, err
}

// lockKeys waits until no other process of this node works on what is in the directory of
// the keys, or sweeps it.
func lockKeys(ctx context.Context, cfg config.Config) (unlock func() error, err error) {
	unlock, err = filelock.WaitAtMost(ctx, filepath.Join(cfg.StateDir, "tls.lock"), tlsPatience)
	if errors.Is(err, filelock.ErrHeld) {
		return nil, fault.WrapHint(fault.Busy, fmt.Errorf("keys of this host: %w", err), "another command of felhom-agentd works on the keys; try again when it has ended")
	}
	return unlock, err
}

// withFiles calls work with the files of keys and certificates, while no other
// process of this node works on them.
func withFiles(ctx context.Context, cfg config.Config, work func(identity.Files) error) (err error) {
	dir := tlsDir(cfg)
	if err := atomicfile.MakeDirectory(dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	files := identity.Files{Keys: root, Certificates: root}
	if cfg.KeyDir != "" {
		if err := guests.MakeShared(cfg.KeyDir); err != nil {
			return fmt.Errorf("key_dir: %w", err)
		}
		if files.Keys, err = os.OpenRoot(cfg.KeyDir); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, files.Keys.Close()) }()
	}
	// Two commands that both find no key would each make one, and print the
	// pins of the key that is overwritten.
	unlock, err := lockKeys(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	// In a directory of several nodes a temporary file may be another node's.
	if err := atomicfile.SweepAll(root); err != nil {
		return err
	}
	if err := guests.ReadOnly(work(files)); errors.Is(err, guests.ErrReadOnly) {
		return err
	} else if err != nil {
		code := fault.Invalid // a restart reads the same damaged file again
		_, isIO := errors.AsType[*fs.PathError](err)
		if _, isLink := errors.AsType[*os.LinkError](err); isIO || isLink {
			code = fault.Failed
		}
		return fault.WrapHint(code, fmt.Errorf("%s: %w", cmp.Or(cfg.KeyDir, dir), err),
			"guests pin this key: restore the file from a backup; only if there is none, move it away and run guest add for every guest")
	}
	return nil
}

func tlsDir(cfg config.Config) string { return filepath.Join(cfg.StateDir, "tls") }

// pins returns what guests are given: SPKI, current and next.
func (h host) pins() pin.Set {
	return pin.Set{pin.SPKIOf(h.identity.Current.Leaf), pin.SPKIOf(h.identity.Next.Leaf)}
}

// certificates returns the certificates that may be shown in PEM, for engines, which
// know no pins.
func (h host) certificates() []byte {
	var out []byte
	all := []*x509.Certificate{h.identity.Current.Leaf, h.identity.Next.Leaf}
	if h.identity.Previous != nil { // shown until the mounts have the renewed one
		all = append(all, h.identity.Previous)
	}
	for _, c := range all {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

func (h host) endpoint() string { return "https://" + h.addrs[0].String() }

// announce sets what guests are told of the host.
func (h host) announce(cfg config.Config, o *provision.Options) {
	o.Certificates = h.certificates()
	o.Bootstrap = provision.BootstrapFrom(cfg, provision.Host{Endpoint: h.endpoint(), Pins: h.pins()})
}

// placeholder returns a host that no guest is told of, to look at guests without
// one.
func placeholder() host {
	none := tls.Certificate{Leaf: &x509.Certificate{}}
	return host{
		addrs:    []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:8443")},
		identity: identity.Identity{Current: none, Next: none},
	}
}

// shownPins is what pin prints.
type shownPins struct {
	Current pinPair `json:"current"`
	Next    pinPair `json:"next"`
	Curl    string  `json:"curl"`
}

type pinPair struct {
	SPKI string `json:"spki_sha256"`
	Leaf string `json:"leaf_sha256"`
}

func showPins(ctx context.Context, cfg config.Config, asJSON bool, now func() time.Time, stdout io.Writer) error {
	h, err := openHost(ctx, cfg, now)
	if err != nil {
		return err
	}
	current, next := h.identity.Current.Leaf, h.identity.Next.Leaf
	out := shownPins{
		Current: pinPair{pin.SPKIOf(current).String(), pin.LeafOf(current).String()},
		Next:    pinPair{pin.SPKIOf(next).String(), pin.LeafOf(next).String()},
		Curl:    h.pins().Curl(),
	}
	if asJSON {
		return printJSON(stdout, out)
	}
	_, err = fmt.Fprintf(stdout, "current spki  %s\ncurrent leaf  %s\nnext    spki  %s\nnext    leaf  %s\ncurl          --pinnedpubkey '%s'\n",
		out.Current.SPKI, out.Current.Leaf, out.Next.SPKI, out.Next.Leaf, out.Curl)
	return err
}

// printJSON writes value, whose strings may come from guests, so that nothing
// in it acts on a terminal.
func printJSON(w io.Writer, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(termtext.JSON(data), '\n'))
	return err
}
