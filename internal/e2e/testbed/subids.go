package testbed

import (
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// subIDScript gives the command a mount namespace of its own in which root may
// map the ids that guests get. newuidmap, which liblxc uses if it is installed,
// reads only /etc/subuid; this machine's file stays as it is.
const subIDScript = `set -e
file=$(mktemp)
trap 'rm -f "$file"' EXIT
echo root:100000:655360 > "$file"
for target in /etc/subuid /etc/subgid; do
  grep -qsx root:100000:655360 "$target" && continue
  [ -e "$target" ] || { echo "$target is missing: install the package login or passwd" >&2; exit 1; }
  mount --bind "$file" "$target"
done
rm "$file"
trap - EXIT
exec "$@"`

// WithSubIDs returns the command line that runs argv where root may map the ids
// of ten unprivileged guests, 100000 to 755359.
func WithSubIDs(argv ...string) []string {
	return append([]string{"unshare", "--mount", "--propagation", "slave", "sh", "-c", subIDScript, "sh"}, argv...)
}

// subIDsEnv is set in a process that [RunWithSubIDs] has started again.
const subIDsEnv = "FELHOM_SUBIDS"

// RunWithSubIDs is for a TestMain: it starts this process again as by
// [WithSubIDs], and there calls run, whose status it returns.
func RunWithSubIDs(run func() int) int {
	if os.Getenv(subIDsEnv) != "" {
		return run()
	}
	fmt.Fprintln(os.Stderr, execWithSubIDs()) // it returned, so it failed
	return 1
}

func execWithSubIDs() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	argv := WithSubIDs(append([]string{self}, os.Args[1:]...)...)
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	return unix.Exec(path, argv, append(os.Environ(), subIDsEnv+"=1"))
}
