package guests

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/fault"
)

// clusterRoot is where PVE mounts the files that all nodes of a cluster share.
const clusterRoot = "/etc/pve"

// MakeShared makes a directory that may be on the cluster's file system. Below
// /etc/pve nothing is made unless that file system is mounted: on the disk
// below it, an empty store would take the place of the cluster's.
func MakeShared(dir string) error {
	if dir == clusterRoot || strings.HasPrefix(dir, clusterRoot+"/") {
		var st unix.Statfs_t
		if err := unix.Statfs(clusterRoot, &st); err != nil {
			return notMounted(err)
		}
		if st.Type != unix.FUSE_SUPER_MAGIC {
			return notMounted(fmt.Errorf("type %#x", st.Type))
		}
	}
	if err := os.MkdirAll(filepath.Clean(dir), 0o700); err != nil {
		return ReadOnly(err)
	}
	return nil
}

func notMounted(cause error) error {
	return fault.WrapHint(fault.NotReady, fmt.Errorf("the cluster's file system is not mounted at %s: %w", clusterRoot, cause), "systemctl status pve-cluster")
}

// ErrReadOnly means that the directory takes no changes now: on PVE's cluster
// file system, that the cluster has no quorum.
var ErrReadOnly = errors.New("read-only file system")

// ReadOnly gives err, if it is that the directory takes no changes, its kind and
// a hint.
func ReadOnly(err error) error {
	for _, cause := range []error{unix.EACCES, unix.EPERM, unix.EROFS} {
		if errors.Is(err, cause) && !errors.Is(err, ErrReadOnly) {
			return fault.WrapHint(fault.NotReady, fmt.Errorf("%w: %w", ErrReadOnly, err),
				"nothing was changed, and guests keep working with the tokens that they have; on PVE check the quorum: pvecm status")
		}
	}
	return err
}
