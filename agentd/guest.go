package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/command"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/filelock"
	"github.com/felhom/felhom-golden/internal/regular"
)

type added struct {
	Guest    int        `json:"guest"`
	Outcome  string     `json:"outcome"` // added, rotated
	Mount    string     `json:"mount"`
	Endpoint string     `json:"endpoint"`
	Overlap  *time.Time `json:"previous_token_valid_until,omitempty"`
}

// guestAdd makes a guest known, or gives a known one a new token, and writes
// its mount. When the mount can not be written, the record goes back to what it
// was. Nothing secret is printed.
func guestAdd(ctx context.Context, cfg config.Config, vmid int, asJSON bool, now func() time.Time, stdout io.Writer) (err error) {
	if err := command.RequireRoot("guest add"); err != nil {
		return err
	}
	h, err := openHost(ctx, cfg, now)
	if err != nil {
		return err
	}
	// Minting and writing the mount are one step: of two at once, the token in
	// the mount could be the one that the other has already dropped.
	unlock, err := filelock.Wait(ctx, filepath.Join(cfg.StateDir, "guest-add.lock"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	unclaim, err := provision.Claim(cfg.StateDir, vmid)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unclaim()) }()
	store, err := guests.Open(cfg.StoreDir, cfg.StateDir, now)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	record, err := store.Get(vmid)
	if err != nil && !errors.Is(err, guests.ErrNotFound) {
		return err
	}
	// Everything that can be wrong is found before the first byte is written.
	boot, err := bootstrapOf(cfg.WithImage(record.ControllerImage), h, vmid)
	if err != nil {
		return err
	}
	root, err := mappedRoot(ctx, cfg, vmid)
	if err != nil {
		return err
	}
	minted, err := store.Mint(ctx, vmid, root.UID, cfg.Limits.TokenOverlap)
	if err != nil {
		return err
	}
	mounts := mountsOf(cfg)
	if err := provision.WriteMount(mounts, boot, minted, vmid, root); err != nil {
		// The undo must happen also when ctx is what made the write fail.
		return errors.Join(err, store.Replace(context.WithoutCancel(ctx), vmid, minted.Before))
	}
	if err := store.Confirm(ctx, minted); err != nil {
		return err // both tokens are accepted until the next run
	}
	out := added{Guest: vmid, Outcome: "added", Mount: mounts.Path(vmid), Endpoint: h.endpoint(), Overlap: minted.Overlap}
	if minted.Before != nil {
		out.Outcome = "rotated"
	}
	if asJSON {
		return printJSON(stdout, out)
	}
	return printAdded(stdout, out, cfg.Hypervisor)
}

// mappedRoot asks the hypervisor for the ids of the guest's root, where one is
// configured and knows the guest; otherwise they are id_map_base.
func mappedRoot(ctx context.Context, cfg config.Config, vmid int) (driver.IDs, error) {
	ids := driver.IDs{UID: cfg.IDMapBase, GID: cfg.IDMapBase}
	if cfg.Hypervisor == "" {
		return ids, nil
	}
	h, err := hypervisorOf(cfg)
	if err != nil {
		return ids, err
	}
	g, err := h.Guest(ctx, vmid)
	if errors.Is(err, driver.ErrNotFound) {
		return ids, nil
	}
	return g.Root, err
}

func printAdded(stdout io.Writer, a added, hypervisor string) error {
	var b strings.Builder
	if a.Outcome == "added" {
		fmt.Fprintf(&b, "guest %d added\n", a.Guest)
	} else {
		fmt.Fprintf(&b, "guest %d was there: it has a new token; the one in use stays valid until the new one is first used, at most until %s\n",
			a.Guest, a.Overlap.Format(time.RFC3339))
	}
	attach := fmt.Sprintf("pct set %d -mp0 %s,mp=%s,ro=1,replicate=0", a.Guest, a.Mount, configmount.Target)
	if hypervisor != "" {
		attach = fmt.Sprintf("felhom-agentd guest attach %d", a.Guest)
	}
	fmt.Fprintf(&b, "  endpoint  %s\n  mount     %s\n  attach    %s\n", a.Endpoint, a.Mount, attach)
	_, err := io.WriteString(stdout, b.String())
	return err
}

// bootstrapOf makes everything of a guest's bootstrap.json but its token.
func bootstrapOf(cfg config.Config, h host, vmid int) (contract.Bootstrap, error) {
	endpoint, err := contract.ParseEndpoint(h.endpoint())
	if err != nil {
		return contract.Bootstrap{}, fmt.Errorf("local API endpoint: %w", err)
	}
	image, err := contract.ParseImageRef(cfg.ControllerImage)
	if err != nil {
		return contract.Bootstrap{}, fault.Errorf(fault.Invalid, "controller_image: %w", err)
	}
	boot := contract.Bootstrap{
		SchemaVersion: contract.SchemaVersion, HubURL: cfg.HubURL, HostID: cfg.HostID, GuestID: vmid,
		LocalAPIEndpoint: endpoint, LocalAPIPins: h.pins(), ControllerImage: image, RegistryMirror: cfg.RegistryMirror, ReadyWait: cfg.ReadyWait,
	}
	if cfg.ManifestDigest != "" {
		if boot.ManifestDigest, err = contract.ParseDigest(cfg.ManifestDigest); err != nil {
			return contract.Bootstrap{}, fault.Errorf(fault.Invalid, "controller_image_manifest_digest: %w", err)
		}
	}
	if cfg.ConfigDigest != "" {
		if boot.ConfigDigest, err = contract.ParseDigest(cfg.ConfigDigest); err != nil {
			return contract.Bootstrap{}, fault.Errorf(fault.Invalid, "controller_image_config_digest: %w", err)
		}
	}
	if cfg.Registry != nil {
		secret, err := readTokenFile(cfg.Registry.TokenFile)
		if err != nil {
			return contract.Bootstrap{}, err
		}
		boot.Registry = &contract.Registry{Host: cfg.Registry.Host, Username: cfg.Registry.Username, Token: secret}
	}
	return boot, nil
}

// readTokenFile reads a credential whose file only its owner and group may read.
func readTokenFile(file string) (_ contract.Secret, err error) {
	f, err := regular.Open(file)
	if err != nil {
		return contract.Secret{}, fault.WrapHint(fault.Invalid, fmt.Errorf("registry.token_file: %w", err), "write the registry's token there, mode 0600")
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return contract.Secret{}, err
	}
	if info.Mode().Perm()&0o007 != 0 {
		return contract.Secret{}, fault.WrapHint(fault.Invalid,
			fmt.Errorf("registry.token_file: %s has mode %#o, want 0600: everybody on this host can use it", file, info.Mode().Perm()), "chmod 600 "+file)
	}
	data, err := io.ReadAll(io.LimitReader(f, 4<<10))
	if err != nil {
		return contract.Secret{}, fmt.Errorf("registry.token_file: %w", err)
	}
	secret, err := contract.ParseSecret(string(bytes.TrimRight(data, "\r\n")))
	if err != nil {
		return contract.Secret{}, fault.WrapHint(fault.Invalid, fmt.Errorf("registry.token_file: %s: %w", file, err), "the file holds the token alone, in one line")
	}
	return secret, nil
}

type listed struct {
	Guest      int              `json:"guest"`
	Unfinished bool             `json:"unfinished,omitempty"` // its provisioning or removal was interrupted
	Added      time.Time        `json:"added,omitzero"`       // zero: interrupted before there was a record
	TokenSeen  *time.Time       `json:"token_first_used,omitempty"`
	Progress   *guests.Progress `json:"progress,omitempty"`
	State      string           `json:"guest_state,omitempty"` // running, stopped, gone; "": it could not be asked for
	Console    string           `json:"console_file,omitempty"`
}

// guestList prints what the store knows. Files of it that cannot be read are an
// error, and the others are printed all the same.
func guestList(ctx context.Context, cfg config.Config, asJSON bool, now func() time.Time, stdout io.Writer) (err error) {
	store, err := guests.Open(cfg.StoreDir, cfg.StateDir, now)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	records, broken, err := store.List()
	if err != nil {
		return err
	}
	unfinished, err := provision.Unfinished(cfg.StateDir)
	if err != nil {
		return err
	}
	out := make([]listed, 0, len(records))
	for _, r := range records {
		l := listed{Guest: r.VMID, Unfinished: unfinished[r.VMID], Added: r.Added, TokenSeen: r.Current.FirstUsed}
		switch p, err := store.Progress(r.VMID); {
		case err == nil:
			l.Progress = &p
		case !errors.Is(err, guests.ErrNotFound):
			broken["reports of "+strconv.Itoa(r.VMID)] = err
		}
		delete(unfinished, r.VMID)
		out = append(out, l)
	}
	for vmid := range unfinished {
		out = append(out, listed{Guest: vmid, Unfinished: true})
	}
	slices.SortFunc(out, func(a, b listed) int { return cmp.Compare(a.Guest, b.Guest) })
	askStates(ctx, cfg, out)
	if asJSON {
		err = printJSON(stdout, out)
	} else {
		err = printTable(stdout, out, now())
	}
	// The others are of use beside a damaged one.
	var all []error
	for _, name := range slices.Sorted(maps.Keys(broken)) {
		all = append(all, broken[name])
	}
	if len(all) > 0 {
		err = errors.Join(err, fault.WrapHint(fault.Failed, errors.Join(all...), "restore the file, or remove it and run guest add for that guest"))
	}
	return err
}

// statesLimit bounds how long guest list asks the hypervisor: what it does not
// say by then is left out.
const statesLimit = 5 * time.Second

// askStates adds what the hypervisor says of each guest. A list of reports is of
// use without it, so that nothing here is an error.
func askStates(ctx context.Context, cfg config.Config, rows []listed) {
	if cfg.Hypervisor == "" {
		return
	}
	h, err := hypervisorOf(cfg)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, statesLimit)
	defer cancel()
	var all sync.WaitGroup
	next := make(chan *listed)
	for range min(len(rows), 4) {
		all.Go(func() {
			for row := range next {
				switch st, err := h.Status(ctx, row.Guest); {
				case err == nil:
					row.State, row.Console = string(st.State), st.ConsoleFile
				case errors.Is(err, driver.ErrNotFound):
					row.State = "gone"
				}
			}
		})
	}
	for i := range rows {
		next <- &rows[i]
	}
	close(next)
	all.Wait()
}

// word returns what a row shows: the last failure that no success has followed,
// with its hint, rather than what the guest tries since; and for a guest that
// does not run, that it does not.
func (l listed) word() (last guests.Received, message string, ok bool) {
	if l.Progress != nil {
		last, ok = l.Progress.Last()
		if l.Progress.Failure != nil {
			last, ok = *l.Progress.Failure, true
		}
		message = last.Report.Message
	}
	message = printable(message)
	if last.Report.Hint != "" {
		message += " (hint: " + printable(last.Report.Hint) + ")"
	}
	switch l.State {
	case string(driver.Stopped):
		message = strings.TrimSuffix("the guest is stopped: "+message, ": -")
		if l.Console != "" {
			message += "; its console: " + l.Console
		}
	case "gone":
		message = strings.TrimSuffix("the hypervisor has no such guest: "+message, ": -")
	}
	return last, message, ok
}

func printTable(stdout io.Writer, rows []listed, now time.Time) error {
	var b bytes.Buffer
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "VMID\tTOKEN\tSTEP\tSTATE\tRESULT\tAGE\tSEQUENCE\tMESSAGE")
	for _, r := range rows {
		seen := "unused"
		switch {
		case r.Unfinished:
			seen = "unfinished"
		case r.TokenSeen != nil:
			seen = "used"
		}
		step, state, result, age, sequence := "-", "-", "-", "-", "-"
		last, message, ok := r.word()
		if ok {
			rep := last.Report
			step, state, result = printable(string(rep.Step)), printable(string(rep.State)), printable(string(rep.Result))
			age = ageOf(now.Sub(last.Received))
			sequence = strconv.FormatUint(r.Progress.Sequence, 10)
		}
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Guest, seen, step, state, result, age, sequence, message)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := stdout.Write(b.Bytes())
	return err
}

// maxCell bounds how much of a guest's text one cell shows.
const maxCell = 80

// printable shows a guest's text without letting it act on the terminal:
// control characters and those that turn the writing direction are escaped.
func printable(s string) string {
	if s == "" {
		return "-"
	}
	var b strings.Builder
	for i, r := range []rune(s) {
		if i == maxCell {
			b.WriteString("…")
			break
		}
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func ageOf(d time.Duration) string {
	switch {
	case d < 0:
		return "in the future"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
