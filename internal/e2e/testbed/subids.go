package testbed

import (
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// subIDScript gives the command a mount namespace of its own in which root may
// map the ids that guests get. newuidmap, which liblxc uses where it is
// installed, reads /etc/subuid and no other file; this machine's stays as it is.
const subIDScript = `set -e
file=$(mktemp)
trap 'rm -f "$file"' EXIT
echo root:100000:65536 > "$file"
for target in /etc/subuid /etc/subgid; do
  grep -qsx root:100000:65536 "$target" && continue
  [ -e "$target" ] || { echo "$target is missing: install the package login or passwd" >&2; exit 1; }
  mount --bind "$file" "$target"
done
rm "$file"
trap - EXIT
exec "$@"`

// WithSubIDs returns the command line that runs argv where root may map the ids
// of an unprivileged guest, 100000 to 165535.
func WithSubIDs(argv ...string) []string {
	return append([]string{"unshare", "--mount", "--propagation", "slave", "sh", "-c", subIDScript, "sh"}, argv...)
}

// ExecWithSubIDs replaces this process by argv, run as by [WithSubIDs]. It
// returns only when that fails.
func ExecWithSubIDs(argv, env []string) error {
	all := WithSubIDs(argv...)
	path, err := exec.LookPath(all[0])
	if err != nil {
		return err
	}
	if self, err := os.Executable(); err == nil {
		all[len(all)-len(argv)] = self
	}
	return unix.Exec(path, all, env)
}
