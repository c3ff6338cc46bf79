package enter

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	resolvConf = "/etc/resolv.conf"
	policyRcD  = "/usr/sbin/policy-rc.d"
)

// hostName and domainName (of NIS) are what the program sees: not those of a real machine.
const (
	hostName   = "localhost"
	domainName = "localdomain"
)

// policy forbids every start of a service; 101 is policy-rc.d's word for it.
const policy = "#!/bin/sh\nexit 101\n"

// machine makes a root into what a program takes for a machine.
type machine struct {
	ord   order
	made  []string // placeholders in the root that must be removed again
	outer outer    // this machine's own root, until the root is complete
}

// build sets the namespaces up. All paths inside the root are looked up after
// the root has become /, so that no link in it can lead out.
func (m *machine) build(report *json.Encoder) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	hand, err := m.pickHand()
	if err != nil {
		return err
	}
	if err := m.pivot(); err != nil {
		return err
	}
	if err := checkRoot(); err != nil {
		return err
	}
	unix.Umask(0) // modes of what we make are exact
	for _, t := range m.mounts() {
		if err := m.mount(t); err != nil {
			return fmt.Errorf("mount %s: %w", t.target, err)
		}
	}
	if err := m.makeDev(); err != nil {
		return err
	}
	if err := m.outer.leave(); err != nil {
		return err
	}
	if err := layHand(hand); err != nil {
		return err
	}
	if err := os.Mkdir("/run/lock", os.ModeSticky|0o777); err != nil {
		return err
	}
	if err := m.overlayFiles(report); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(hostName)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	if err := unix.Setdomainname([]byte(domainName)); err != nil {
		return fmt.Errorf("set domain name: %w", err)
	}
	if m.ord.Resolver == nil {
		if err := loopbackUp(); err != nil {
			return err
		}
	}
	if err := m.dropCapabilities(); err != nil {
		return err
	}
	if m.ord.NoSync {
		if err := ignoreSync(); err != nil {
			return err
		}
	}
	unix.Umask(0o022)
	return nil
}

// pivot makes the root /. The old / is unreachable by a path from then on, and is there until [outer.leave].
func (m *machine) pivot() error {
	flags := uintptr(unix.MS_BIND)
	if m.ord.SharedTmp {
		flags |= unix.MS_REC // /tmp is a mount of the caller's
	}
	if err := unix.Mount(m.ord.Root, m.ord.Root, "", flags, ""); err != nil {
		return fmt.Errorf("bind root: %w", err)
	}
	if err := m.outer.hold(); err != nil {
		return err
	}
	if err := unix.Chdir(m.ord.Root); err != nil {
		return fmt.Errorf("bind root: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot root: %w", err)
	}
	return nil
}

type mount struct {
	source, target, kind string
	flags                uintptr
	data                 string
}

func (m *machine) mounts() []mount {
	const quiet = unix.MS_NOSUID | unix.MS_NODEV
	table := []mount{
		{"proc", "/proc", "proc", quiet | unix.MS_NOEXEC, ""},
		// A package's sysctl file must not change this machine.
		{"/proc/sys", "/proc/sys", "", unix.MS_BIND | unix.MS_REC, ""},
		{"", "/proc/sys", "", unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY | quiet | unix.MS_NOEXEC, ""},
		{"sysfs", "/sys", "sysfs", quiet | unix.MS_NOEXEC | unix.MS_RDONLY, ""},
		{"tmpfs", "/dev", "tmpfs", unix.MS_NOSUID | unix.MS_NOEXEC, "mode=0755,size=1m"},
		{"tmpfs", "/run", "tmpfs", quiet, "mode=0755"},
	}
	if !m.ord.SharedTmp {
		table = append(table, mount{"tmpfs", "/tmp", "tmpfs", quiet, "mode=1777"})
	}
	return table
}

// mount mounts t, or what this machine has itself where the kernel refuses a new one.
func (m *machine) mount(t mount) error {
	if m.outer.seen && t.flags&unix.MS_REMOUNT != 0 { // what is mounted in it may be writable
		return setAttributes(unix.AT_FDCWD, t.target, unix.AT_RECURSIVE, unix.MOUNT_ATTR_RDONLY)
	}
	err := unix.Mount(t.source, t.target, t.kind, t.flags, t.data)
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	switch t.kind {
	case "proc":
		return m.outer.bindProc()
	case "sysfs":
		return m.outer.bindSys()
	}
	return err
}

// checkRoot wants the mount points to be there: making them would change the
// image, and a root without them is not one.
func checkRoot() error {
	for _, dir := range []string{"/proc", "/sys", "/dev", "/run", "/tmp"} {
		info, err := os.Lstat(dir)
		if err == nil && !info.IsDir() {
			err = errors.New("not a directory")
		}
		if err != nil {
			return &unfitError{
				msg:  fmt.Sprintf("not a root file system: want the directory %s in it: %v", dir, err),
				hint: "make one with: felhom-golden stage ROOT",
			}
		}
	}
	return nil
}

func (m *machine) makeDev() error {
	for _, d := range []struct {
		name         string
		major, minor uint32
	}{{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}} {
		number := unix.Mkdev(d.major, d.minor)
		err := unix.Mknod("/dev/"+d.name, unix.S_IFCHR|0o666, int(number))
		if errors.Is(err, unix.EPERM) {
			err = m.outer.bindDevice(d.name, number)
		}
		if err != nil {
			return fmt.Errorf("make /dev/%s: %w", d.name, err)
		}
	}
	for _, l := range [][2]string{
		{"/proc/self/fd", "/dev/fd"},
		{"/proc/self/fd/0", "/dev/stdin"},
		{"/proc/self/fd/1", "/dev/stdout"},
		{"/proc/self/fd/2", "/dev/stderr"},
		{"pts/ptmx", "/dev/ptmx"},
	} {
		if err := os.Symlink(l[0], l[1]); err != nil {
			return err
		}
	}
	for _, t := range []mount{
		{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"},
		{"tmpfs", "/dev/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
	} {
		if err := os.Mkdir(t.target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(t.source, t.target, t.kind, t.flags, t.data); err != nil {
			return fmt.Errorf("mount %s: %w", t.target, err)
		}
	}
	return nil
}

// overlayFiles lays our policy-rc.d and, with network, the machine's
// resolv.conf over those of the root, read-only. Only where the root has none an
// empty file has to be made to mount on; the caller hears of it first, and
// removes it if we cannot.
func (m *machine) overlayFiles(report *json.Encoder) error {
	type file struct {
		path    string
		content []byte
		mode    fs.FileMode
	}
	files := []file{{policyRcD, []byte(policy), 0o755}}
	if m.ord.Resolver != nil {
		files = append(files, file{resolvConf, m.ord.Resolver, 0o644})
	}
	var missing []string
	for _, f := range files {
		if _, err := os.Stat(filepath.Dir(f.path)); err != nil {
			return &unfitError{msg: fmt.Sprintf("not a root file system: want the directory %s in it", filepath.Dir(f.path))}
		}
		if _, err := os.Lstat(f.path); errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, f.path)
		}
	}
	if err := report.Encode(outcome{Made: missing}); err != nil {
		return fmt.Errorf("report to the caller: %w", err)
	}
	for _, f := range files {
		if err := m.overlay(f.path, f.content, f.mode); err != nil {
			return fmt.Errorf("lay over %s: %w", f.path, err)
		}
	}
	return nil
}

func (m *machine) overlay(path string, content []byte, mode fs.FileMode) error {
	src := "/run/.felhom-golden-" + filepath.Base(path)
	if err := os.WriteFile(src, content, mode); err != nil {
		return err
	}
	target, err := m.target(path)
	if err != nil {
		return err
	}
	if err := unix.Mount(src, target, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	if err := unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
		return err
	}
	return os.Remove(src)
}

// target is the file to mount on: path itself; the end of a link chain, which
// is made when it is below /run, in memory; or a placeholder.
func (m *machine) target(path string) (string, error) {
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	link, err := os.Readlink(path)
	if err == nil { // it dangles, as resolved's does in an image that is not booted
		if !filepath.IsAbs(link) {
			link = filepath.Join(filepath.Dir(path), link)
		}
		if rel, err := filepath.Rel("/run", link); err != nil || !filepath.IsLocal(rel) {
			return "", fmt.Errorf("it links to %s, which is not there", link)
		}
		if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
			return "", err
		}
		return link, os.WriteFile(link, nil, 0o644)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return "", err
	}
	m.made = append(m.made, path)
	return path, f.Close()
}

// removePlaceholders runs when no process but this one is left.
func (m *machine) removePlaceholders() {
	for _, path := range m.made {
		_ = unix.Unmount(path, unix.MNT_DETACH) // the caller tries again, and reports
		_ = os.Remove(path)
	}
}

// removePlaceholders is the caller's part, for a pid 1 that was killed: it
// removes what is still the empty file that we made.
func removePlaceholders(root string, made []string) (err error) {
	if len(made) == 0 {
		return nil
	}
	r, err := os.OpenRoot(root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for _, path := range made {
		rel, relErr := filepath.Rel("/", path)
		if relErr != nil {
			return relErr
		}
		info, statErr := r.Lstat(rel)
		if statErr != nil || !info.Mode().IsRegular() || info.Size() != 0 {
			continue
		}
		err = errors.Join(err, r.Remove(rel))
	}
	return err
}

// loopbackUp brings lo up: scripts that test what they installed expect it.
func loopbackUp() (err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("bring loopback up: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("bring loopback up: %w", err)
	}
	return nil
}

// dropCapabilities takes away what would act on this machine and no image
// script needs: its clock, its kernel modules, its log, its power. Where the
// processes of this machine can be seen, it also takes away the way into them.
func (m *machine) dropCapabilities() error {
	drop := []uintptr{
		unix.CAP_SYS_TIME, unix.CAP_SYS_MODULE, unix.CAP_SYS_BOOT, unix.CAP_SYS_RAWIO, unix.CAP_SYSLOG,
		unix.CAP_WAKE_ALARM, unix.CAP_BLOCK_SUSPEND, unix.CAP_AUDIT_CONTROL, unix.CAP_MAC_ADMIN, unix.CAP_MAC_OVERRIDE,
	}
	if m.outer.seen {
		drop = append(drop, unix.CAP_SYS_PTRACE)
	}
	for _, c := range drop {
		// EINVAL: a kernel that does not know it cannot grant it.
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	return nil
}
