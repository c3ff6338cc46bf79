// Package seal removes from a staged root what must not leave the build machine:
// identity, secrets and the residue of the build, by the rules of
// golden/internal/rules. It works in place, through os.Root, so that no link
// in the tree leads it out, and it is idempotent: a second run changes
// nothing. It does not judge the result; golden/internal/verify does, on the
// archive, without knowing this package.
package seal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/golden/internal/rules"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/mountinfo"
)

// DefaultHostname is what a sealed image calls itself; PVE writes the guest's
// own name at every start.
const DefaultHostname = "localhost"

// MachineID says what /etc/machine-id holds in a sealed image.
type MachineID string

const (
	// MachineIDEmpty has systemd make an id at each guest's first start without
	// calling it a first boot: no presets are applied, so that the guest runs
	// exactly the units that verify saw. PVE's own clone does the same. It is
	// the default.
	MachineIDEmpty MachineID = "empty"
	// MachineIDUninitialized makes the first start a first boot:
	// ConditionFirstBoot holds and presets are applied, which needs a closed
	// list of presets.
	MachineIDUninitialized MachineID = "uninitialized"
)

// Options choose what is sealed. The zero value seals everything.
type Options struct {
	Enable []string // only these rules; empty means all
	Skip   []string // all but these
	// Epoch is the image's time: password changes later than it are brought
	// back to it. The zero value leaves them.
	Epoch     time.Time
	Hostname  string    // "" means DefaultHostname
	MachineID MachineID // "" means MachineIDEmpty
}

// Change is one thing that was done.
type Change struct {
	Rule   string `json:"rule"`
	Path   string `json:"path"` // slash separated, from the root's "/"
	Action string `json:"action"`
}

// Report is what Apply did, in the order of the rules and by path in each.
type Report struct {
	Rules   []string `json:"rules"` // the rules that were applied
	Changes []Change `json:"changes"`
}

// Sealable returns the rules that seal does something for.
func Sealable() []rules.Rule {
	return slices.DeleteFunc(rules.All(), func(r rules.Rule) bool { return r.Seal == "" })
}

// Apply seals the root file system in the directory root. Nothing is changed when
// the options are wrong, when the directory does not look like a root file system
// or when something is mounted below it: those are [fault.Misuse] and
// [fault.Invalid]. On another error the report says what was done until then;
// running it again does the rest.
func Apply(ctx context.Context, root string, opts Options) (report Report, err error) {
	chosen, err := choose(opts)
	if err != nil {
		return Report{}, err
	}
	if err := checkRoot(root); err != nil {
		return Report{}, err
	}
	r, err := os.OpenRoot(root)
	if err != nil {
		return Report{}, fmt.Errorf("seal: %w", err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()

	w := &work{root: r, opts: opts, report: &report}
	all := actions()
	for _, rule := range chosen {
		if err := context.Cause(ctx); err != nil {
			return report, err
		}
		w.rule = rule.ID
		from := len(report.Changes)
		err := sealPaths(w, rule)
		if more := all[rule.ID]; err == nil && more != nil {
			err = more(w)
		}
		if err != nil {
			return report, fmt.Errorf("seal %s: rule %s: %w", root, rule.ID, err)
		}
		slices.SortFunc(report.Changes[from:], func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
		report.Rules = append(report.Rules, rule.ID)
	}
	return report, nil
}

// choose gives the rules to apply, in the order of the table.
func choose(opts Options) ([]rules.Rule, error) {
	if len(opts.Enable) > 0 && len(opts.Skip) > 0 {
		return nil, fault.WrapHint(fault.Misuse, errors.New("seal: both rules to enable and rules to skip given"), "give one of the two")
	}
	for _, id := range slices.Concat(opts.Enable, opts.Skip) {
		if why := rules.Unsealable(id); why != "" {
			return nil, fault.WrapHint(fault.Misuse, fmt.Errorf("seal: %s %q", why, id), "felhom-golden seal --list shows the rules that it applies")
		}
	}
	if m := opts.MachineID; m != "" && m != MachineIDEmpty && m != MachineIDUninitialized {
		return nil, fault.WrapHint(fault.Misuse, fmt.Errorf("seal: machine id %q", m), "want \"empty\" or \"uninitialized\"")
	}
	if h := opts.Hostname; strings.ContainsAny(h, " \t\n/") || len(h) > 253 {
		return nil, fault.WrapHint(fault.Misuse, fmt.Errorf("seal: host name %q", h), "want a DNS name")
	}
	return slices.DeleteFunc(Sealable(), func(r rules.Rule) bool {
		return slices.Contains(opts.Skip, r.ID) || len(opts.Enable) > 0 && !slices.Contains(opts.Enable, r.ID)
	}), nil
}

// checkRoot refuses what would make the work below destructive: the running
// system, a directory of another kind, and mounts, whose content is not the
// image's (a bind mount of the host's /dev, most of all).
func checkRoot(root string) error {
	abs, err := filepath.Abs(root)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return fault.WrapHint(fault.Invalid, fmt.Errorf("seal: %w", err), "name the directory of a staged root file system (felhom-golden stage makes one)")
	}
	if running, err := isRunningSystem(abs); err != nil {
		return fmt.Errorf("seal: %w", err)
	} else if running {
		return fault.WrapHint(fault.Misuse, fmt.Errorf("seal: %s is the running system", root), "name the directory of a staged root file system")
	}
	for _, name := range []string{"etc", "usr", "var"} {
		if st, err := os.Lstat(filepath.Join(abs, name)); err != nil || !st.IsDir() {
			return fault.WrapHint(fault.Invalid, fmt.Errorf("seal %s: not a root file system: want a directory %s in it, got none", root, name),
				"name the directory of a staged root file system (felhom-golden stage makes one)")
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("seal: look for mounts: %w", err)
	}
	at, err := mountBelow(string(mounts), abs)
	if err != nil {
		return fmt.Errorf("seal: look for mounts: %w", err)
	}
	if at != "" {
		return fault.WrapHint(fault.Invalid, fmt.Errorf("seal %s: %s is a mount point: what is below it is not the image's", root, at), "umount "+at)
	}
	return nil
}

// isRunningSystem compares what the directory is, not what it is called: a bind
// mount of / has another name and is as dangerous.
func isRunningSystem(dir string) (bool, error) {
	own, err := os.Stat("/")
	if err != nil {
		return false, err
	}
	st, err := os.Stat(dir)
	return err == nil && os.SameFile(own, st), err
}

// mountBelow returns the first mount point strictly below dir in the text of
// /proc/self/mountinfo, or "".
func mountBelow(text, dir string) (string, error) {
	list, err := mountinfo.Parse(text)
	if err != nil {
		return "", err
	}
	for _, at := range mountinfo.Below(list, dir) {
		if at != dir {
			return at, nil
		}
	}
	return "", nil
}

// work is the state of one Apply.
type work struct {
	root   *os.Root
	opts   Options
	report *Report
	rule   string // the one that is being applied
}

func (w *work) changed(name, action string) {
	w.report.Changes = append(w.report.Changes, Change{Rule: w.rule, Path: "/" + name, Action: action})
}

// lstat returns nil info for a name that does not exist or is below
// something that is not a directory of the root.
func (w *work) lstat(name string) (fs.FileInfo, error) {
	if dir := path.Dir(name); dir != "." {
		// A parent that is a link leads to another rule's place: /var/run leads to
		// /run, which has its own rule.
		st, err := w.lstat(dir)
		if st == nil || err != nil || !st.IsDir() {
			return nil, err
		}
	}
	st, err := w.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return st, err
}
