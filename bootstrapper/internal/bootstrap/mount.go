package bootstrap

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/fault"
)

// ConfigFile is the name of the contract in the mount.
const ConfigFile = "bootstrap.json"

// unmappedID is the owner that an unprivileged guest sees if the real one is outside its id map.
const unmappedID = 65534

// ErrUnreadable is the cause if this guest may not read the contract as the host wrote it.
var ErrUnreadable = errors.New("permission denied")

// mountStep reads and parses the contract. It changes nothing.
type mountStep struct {
	dir    string // absolute
	file   string // empty: ConfigFile
	idBase uint32 // host id of this guest's root; 0 if ids are not mapped
}

func (s mountStep) path() string {
	if s.file != "" {
		return filepath.Join(s.dir, s.file)
	}
	return filepath.Join(s.dir, ConfigFile)
}

// run returns the contract, and warnings that do not stop the run.
func (s mountStep) run() (contract.Bootstrap, []string, error) {
	data, warnings, err := s.read()
	if err != nil {
		return contract.Bootstrap{}, nil, err
	}
	b, findings := contract.Parse(data)
	name := s.path()
	if findings.Err() != nil {
		return contract.Bootstrap{}, nil, fault.WrapHint(fault.Invalid,
			errors.New(strings.TrimRight(findings.Format(name), "\n")),
			"correct the file on the host; felhom-agentd guest add VMID writes it again")
	}
	for _, f := range findings.List {
		warnings = append(warnings, fmt.Sprintf("%s:%d:%d: %s: %s", name, f.Line, f.Column, f.Path, f.Message))
	}
	return b, warnings, nil
}

func (s mountStep) read() (_ []byte, warnings []string, err error) {
	name := s.path()
	// Not through a symbolic link: the mount is the host's, and a link in it
	// would point into the guest.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, fault.WrapHint(fault.NotReady, fmt.Errorf("read %s: there is no such file", name),
			fmt.Sprintf("on the host, put the config directory into this guest: pct set VMID -mp0 HOSTDIR,mp=%s,ro=1", s.dir))
	case errors.Is(err, fs.ErrPermission):
		return nil, nil, fault.WrapHint(fault.Invalid, fmt.Errorf("read %s: %w%s", name, ErrUnreadable, ownerOf(name, s.dir)), s.chownHint())
	case errors.Is(err, syscall.ELOOP):
		return nil, nil, fault.WrapHint(fault.Invalid, fmt.Errorf("read %s: it is a symbolic link, want a regular file", name),
			"on the host, replace the link by the file itself")
	case err != nil:
		return nil, nil, fault.Wrap(fault.NotReady, fmt.Errorf("read the mount: %w", err))
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, fault.Wrap(fault.NotReady, fmt.Errorf("read the mount: %w", err))
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fault.WrapHint(fault.Invalid, fmt.Errorf("read %s: it is a %s, want a regular file", name, info.Mode().Type()),
			"on the host, replace it by the file itself")
	}
	data, err := io.ReadAll(io.LimitReader(f, contract.MaxBootstrapBytes+1)) // one more, so that Parse sees it is too large
	if err != nil {
		return nil, nil, fault.Wrap(fault.NotReady, fmt.Errorf("read %s: %w", name, err))
	}
	return data, s.look(name, info), nil
}

// look checks owner and mode. Two ownerships are correct: mapped root with any
// private mode, and host root (seen as unmappedID) with the guest's root as group.
func (s mountStep) look(name string, info fs.FileInfo) []string {
	var warnings []string
	st, ok := info.Sys().(*syscall.Stat_t)
	if ok && st.Uid != 0 && (st.Uid != unmappedID || st.Gid != 0) {
		warnings = append(warnings, fmt.Sprintf("%s belongs to %d:%d, want root (0:0, or %d:0 for a file of the host's root): %s",
			name, st.Uid, st.Gid, unmappedID, "another user of this guest can change or read it"))
	}
	if perm := info.Mode().Perm(); perm&0o007 != 0 {
		warnings = append(warnings, fmt.Sprintf("%s has mode %04o, so every user of this guest can read the tokens in it; on the host: chmod o-rwx HOSTDIR/%s",
			name, perm, ConfigFile))
	}
	return warnings
}

func ownerOf(paths ...string) string {
	for _, p := range paths { // the directory, if not even the file's status can be read
		info, err := os.Lstat(p)
		if err != nil {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			owner := fmt.Sprintf("%d:%d", st.Uid, st.Gid)
			if st.Uid == unmappedID {
				owner = fmt.Sprintf("nobody (%d:%d: an id of the host outside this guest's map)", st.Uid, st.Gid)
			}
			return fmt.Sprintf("; %s belongs to %s, mode %04o", p, owner, info.Mode().Perm())
		}
	}
	return ""
}

// chownHint is the remedy for the host, in the host's ids.
func (s mountStep) chownHint() string {
	base := s.idBase
	from := "the first host id of this guest's map (/proc/self/uid_map)"
	if base == 0 {
		base, from = 100000, "the usual first host id of an unprivileged guest (its lxc.idmap, or root's line in /etc/subuid)"
	}
	return fmt.Sprintf(`on the host, HOSTDIR being the directory that is mounted at %[1]s:
chown root:%[2]d HOSTDIR HOSTDIR/%[4]s && chmod 0750 HOSTDIR && chmod 0640 HOSTDIR/%[4]s
or, if the guest may own it: chown %[2]d:%[2]d HOSTDIR HOSTDIR/%[4]s
%[2]d is %[3]s`, s.dir, base, from, ConfigFile)
}

// mappedRoot returns the host id of root in this process's user namespace, 0 if
// ids are not mapped or the map cannot be read.
func mappedRoot(uidMap string) uint32 {
	for line := range strings.SplitSeq(uidMap, "\n") {
		var inside, outside, count uint32
		if n, _ := fmt.Sscan(line, &inside, &outside, &count); n == 3 && inside == 0 {
			return outside
		}
	}
	return 0
}

// Check reads and checks the contract at path and the container's settings as a run
// does, and returns the warnings of valid ones.
func Check(o Options, path string) (contract.Bootstrap, []string, error) {
	b, warnings, err := readInput(filepath.Dir(path), filepath.Base(path))
	if err == nil {
		_, err = planOf(withDefaults(o), b)
	}
	return b, warnings, err
}

// readInput reads and parses the contract.
func readInput(dir, file string) (contract.Bootstrap, []string, error) {
	uidMap, _ := os.ReadFile("/proc/self/uid_map") // unreadable: the hint names the usual id
	return mountStep{dir: dir, file: file, idBase: mappedRoot(string(uidMap))}.run()
}

// planOf reads what the golden image says about the container, and merges it with
// what the contract says. It refuses here what the engine would refuse later.
func planOf(o Options, b contract.Bootstrap) (plan, error) {
	return specBuilder{
		name: ContainerName, root: at(o.Root, ""), file: at(o.Root, SpecFile), socket: o.Socket, profile: b.Profile, settings: b.Container,
	}.build()
}
