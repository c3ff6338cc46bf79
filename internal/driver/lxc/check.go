package lxc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/passage"
	"github.com/felhom/felhom-golden/internal/unpack"
)

// leastGrowth is the least factor by which an archive grows when it is
// unpacked: less free space than this cannot be enough.
const leastGrowth = 2

// Check implements [driver.Hypervisor].
func (d *Driver) Check(ctx context.Context, _ int, s driver.Spec) error {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("check: %w", err)
	}
	all := []error{d.checkHost(ctx)}
	if s.Archive != "" {
		all = append(all, d.checkArchive(ctx, s))
	}
	err := errors.Join(append(all, d.checkBridge(s.Net.Bridge), d.checkPath())...)
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("check: %w", cause) // what could not be read is not a finding
	}
	return err
}

// CheckNode finds what keeps this host from running any guest: programs, liblxc's
// configuration, and the directories above the guests.
func (d *Driver) CheckNode(ctx context.Context) error {
	return errors.Join(d.checkHost(ctx), d.checkPath())
}

func (d *Driver) checkHost(ctx context.Context) error {
	var all []error
	for _, program := range []string{"lxc-start", "lxc-stop", "lxc-info"} {
		if _, err := run.Run(ctx, run.Cmd{Path: program, Args: []string{"--version"}, Env: environment()}); err != nil {
			all = append(all, driver.Faultf(driver.ErrWrongHost, installHint, "%w", err))
		}
	}
	for _, part := range []string{"common", "userns", "nesting"} {
		if _, err := os.Stat(filepath.Join(d.o.ConfigDir, part+".conf")); err != nil {
			all = append(all, driver.Faultf(driver.ErrWrongHost, installHint, "%w", err))
		}
	}
	return errors.Join(all...)
}

func (d *Driver) checkArchive(ctx context.Context, s driver.Spec) error {
	data, err := d.ArchiveConfig(ctx, s.Archive)
	if err != nil {
		return err
	}
	archived, err := parseArchived(s.Archive, data)
	if err != nil {
		return err
	}
	var all []error
	if arch, _ := archived.Get("arch"); arch != "" && arch != runtime.GOARCH {
		all = append(all, refuseArchive(s.Archive, fmt.Errorf("it is for %s, this host is %s", arch, runtime.GOARCH)))
	}
	conf, err := applySpec(archived, s)
	if err != nil {
		return errors.Join(append(all, err)...)
	}
	if err := d.chooseIDs(conf); err != nil {
		return errors.Join(append(all, err)...)
	}
	ids, err := idMap(conf)
	if err != nil {
		return errors.Join(append(all, refuseArchive(s.Archive, err))...)
	}
	all = append(all, d.checkSubIDs(ids))
	net, err := netOf(conf)
	all = append(all, err, d.checkVLAN(net))
	if s.Net.Bridge == "" {
		all = append(all, d.checkBridge(net.Bridge))
	}
	return errors.Join(append(all, d.checkSpace(s.Archive))...)
}

func (d *Driver) checkBridge(name string) error {
	if name == "" {
		return nil
	}
	return fault.WrapHint(fault.Invalid, driver.FindBridge(filepath.Join(d.o.SysDir, "class/net"), name), "ip link lists the interfaces; name another with --bridge")
}

// checkVLAN returns an error if the guest is in a VLAN and the bridge of Linux
// does not support VLANs: liblxc would refuse to start the guest.
func (d *Driver) checkVLAN(n driver.Net) error {
	if n.VLAN == 0 || n.Bridge == "" {
		return nil
	}
	data, err := os.ReadFile(filepath.Join(d.o.SysDir, "class/net", n.Bridge, "bridge/vlan_filtering"))
	if err != nil || strings.TrimSpace(string(data)) == "1" {
		return nil //nolint:nilerr // not a bridge of Linux; checkBridge says what is wrong
	}
	return driver.Faultf(driver.ErrRefused, "ip link set "+n.Bridge+" type bridge vlan_filtering 1; or name the bridge of that VLAN", "the guest is in VLAN %d, and the bridge %q does not know VLANs", n.VLAN, n.Bridge)
}

func (d *Driver) checkSpace(archive string) error {
	info, err := os.Stat(archive)
	if err != nil {
		return err
	}
	dir, err := existing(d.o.Path)
	if err != nil {
		return err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	free := int64(st.Bavail) * st.Frsize
	if want := leastGrowth * info.Size(); free < want {
		return driver.Faultf(driver.ErrNoSpace, "free space there", "%s has %d MB free, the archive needs more than %d MB", dir, free/1e6, want/1e6)
	}
	return nil
}

// existing returns the deepest directory of path that exists.
func existing(path string) (string, error) {
	for {
		_, err := os.Stat(path)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return path, err
		}
		path = filepath.Dir(path)
	}
}

func (d *Driver) checkPath() error {
	dir, err := existing(d.o.Path)
	if err != nil {
		return err
	}
	return reachable(dir, defaultIDBase)
}

// reachable returns an error if user uid, a guest's mapped root, cannot pass
// through dir or a directory above it: liblxc only says "Permission denied".
func reachable(dir string, uid int) error {
	var all []error
	for ; dir != "/"; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		through, err := passage.Lets(dir, uid)
		if err != nil {
			return err
		}
		if !through {
			all = append(all, fault.WrapHint(fault.Invalid, fmt.Errorf("%s has mode %#o: a guest's root is another user here and cannot reach its files below", dir, info.Mode().Perm()),
				"chmod o+x "+dir))
		}
	}
	return errors.Join(all...)
}

// checkSubIDs checks what newuidmap, which liblxc uses if it is installed, lets
// root map.
func (d *Driver) checkSubIDs(ids unpack.IDMap) error {
	if !NeedsSubIDs() {
		return nil
	}
	return checkSubIDs(d.o.SubUIDFile, d.o.SubGIDFile, ids)
}

// NeedsSubIDs reports whether this host has newuidmap, which liblxc then uses and
// which maps only what subuid(5) and subgid(5) let root map.
func NeedsSubIDs() bool { return onPath("newuidmap") }

// CheckSubIDs finds that the files of subuid(5) and subgid(5) do not let root map
// count ids from first on.
func CheckSubIDs(uidFile, gidFile string, first, count int) error {
	ids := []unpack.Range{{Host: first, Count: count}}
	return checkSubIDs(uidFile, gidFile, unpack.IDMap{UIDs: ids, GIDs: ids})
}

func checkSubIDs(uidFile, gidFile string, ids unpack.IDMap) error {
	var all []error
	for _, of := range []struct {
		file   string
		ranges []unpack.Range
	}{{uidFile, ids.UIDs}, {gidFile, ids.GIDs}} {
		allowed, err := subIDs(of.file, isRoot)
		if err != nil {
			return err
		}
		for _, r := range of.ranges {
			if !allowed.covers(r) {
				all = append(all, driver.Faultf(driver.ErrNotReady, fmt.Sprintf("echo root:%d:%d >> %s", r.Host, r.Count, of.file), "%s does not give root the ids %d to %d", of.file, r.Host, r.Host+r.Count-1))
			}
		}
	}
	return errors.Join(all...)
}

func onPath(program string) bool {
	for _, env := range environment() {
		if list, ok := strings.CutPrefix(env, "PATH="); ok {
			for _, dir := range filepath.SplitList(list) {
				if _, err := os.Stat(filepath.Join(dir, program)); err == nil {
					return true
				}
			}
		}
	}
	return false
}

type subIDRange struct{ first, count int }

type subIDRanges []subIDRange

func (s subIDRanges) covers(r unpack.Range) bool {
	for _, a := range s {
		if r.Host >= a.first && r.Host+r.Count <= a.first+a.count {
			return true
		}
	}
	return false
}

// subIDs reads the lines of subuid(5) whose user who accepts.
func subIDs(file string, who func(name string) bool) (list subIDRanges, err error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		parts := strings.Split(lines.Text(), ":")
		if len(parts) != 3 || !who(parts[0]) {
			continue
		}
		first, err1 := strconv.Atoi(parts[1])
		count, err2 := strconv.Atoi(parts[2])
		if err1 == nil && err2 == nil && first >= 0 && count > 0 && count <= 1<<32 {
			list = append(list, subIDRange{first, count})
		}
	}
	return list, lines.Err()
}

func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
