package configmount

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/passage"
)

// Look returns what is wrong with owners and modes in the mount of guest vmid, in
// sentences that begin with the path; none if all is as [Dir.Put] makes it. root
// is the guest's root, in this host's ids. It changes nothing.
func (d Dir) Look(vmid int, root driver.IDs) (flaws []string, err error) {
	isThere := false
	err = d.inMount(vmid, func(mount *os.Root) error {
		isThere = true
		own, err := lookAtDirectory(mount, root)
		if err != nil {
			return err
		}
		for _, name := range []string{BootstrapFile, contract.RegistryHostsFile, contract.RegistryCertificateFile} {
			flaw, err := d.lookAtFile(mount, name, root)
			if err != nil {
				return err
			}
			own = append(own, flaw...)
		}
		for _, flaw := range own {
			flaws = append(flaws, d.Path(vmid)+flaw)
		}
		return nil
	})
	if err == nil && !isThere {
		flaws = []string{d.Path(vmid) + " does not exist"}
	}
	return flaws, err
}

func lookAtDirectory(mount *os.Root, root driver.IDs) (flaws []string, err error) {
	err = withDir(mount, ".", func(fd int) error {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return os.NewSyscallError("fstat", err)
		}
		users, err := passage.Users(fd)
		if err != nil {
			return err
		}
		if st.Uid != 0 {
			flaws = append(flaws, fmt.Sprintf(" belongs to user %d, want 0: that user can replace the files in it", st.Uid))
		}
		if st.Mode&0o007 != 0 {
			flaws = append(flaws, fmt.Sprintf(" has mode %04o: every user of this host can use it", st.Mode&0o7777))
		}
		for _, user := range users {
			if user != root.UID {
				flaws = append(flaws, fmt.Sprintf(" lets user %d in, who is not the guest's root (%d)", user, root.UID))
			}
		}
		reads := root.UID == 0 || slices.Contains(users, root.UID) || int(st.Gid) == root.GID && st.Mode&0o050 == 0o050
		if !reads {
			flaws = append(flaws, fmt.Sprintf(" does not let the guest's root (%d) in", root.UID))
		}
		return nil
	})
	return flaws, err
}

func (d Dir) lookAtFile(mount *os.Root, name string, root driver.IDs) (flaws []string, err error) {
	info, err := mount.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		if name == BootstrapFile {
			return []string{"/" + name + " does not exist"}, nil
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return []string{fmt.Sprintf("/%s is a %s, want a regular file", name, info.Mode().Type())}, nil
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, fmt.Errorf("%s: owner not known", name)
	}
	mode := info.Mode().Perm()
	if mode&0o007 != 0 {
		flaws = append(flaws, fmt.Sprintf("/%s has mode %04o: every user who reaches it can read the token in it", name, mode))
	}
	wantUID, wantGID := 0, root.GID
	if d.owner == OwnerGuest {
		wantUID = root.UID
	}
	if int(st.Uid) != wantUID || int(st.Gid) != wantGID {
		flaws = append(flaws, fmt.Sprintf("/%s belongs to %d:%d, want %d:%d", name, st.Uid, st.Gid, wantUID, wantGID))
	}
	if isGuests := int(st.Uid) == root.UID; isGuests && mode&0o400 == 0 || !isGuests && mode&0o040 == 0 {
		flaws = append(flaws, "/"+name+" has mode "+strconv.FormatUint(uint64(mode), 8)+": the guest's root cannot read it")
	}
	return flaws, nil
}
