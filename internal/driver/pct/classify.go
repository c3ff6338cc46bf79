package pct

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// A rule matches one of PVE's messages. The first match counts, so that a
// reason must come before its consequence: a full disk before "tar failed".
type rule struct {
	text *regexp.Regexp
	is   error
	hint string
}

var rules = []rule{
	{has(`no quorum[?!]`), driver.ErrNotReady, "the cluster has no quorum: bring its nodes back, see pvecm status"},
	{has(`ipcc_send_rec\[|Unable to load access control list|atomic file '/etc/pve/.*' failed|unable to open file '/etc/pve/.*' - (Permission denied|Input/output error)`), driver.ErrNotReady, "the cluster file system cannot be read or written: systemctl status pve-cluster, and pvecm status for the quorum"},
	{has(`please run as root`), driver.ErrWrongHost, "run it as root"},
	{has(`hostname lookup '.*' failed|no such cluster node '`), driver.ErrWrongHost, "name the node as pvecm and /etc/hosts know it"},
	{has(`(CT|VM) \d+ already exists`), driver.ErrExists, otherVMID},
	{has(`Configuration file 'nodes/.*' does not exist`), driver.ErrNotFound, ""},
	{has(`CT is locked \((create|destroyed)\)`), driver.ErrBusy, "another task works on it, or one was killed: then pct unlock VMID, and pct destroy VMID"},
	{has(`contains a filesystem in use`), driver.ErrBusy, "the volume is still mounted: umount /var/lib/lxc/VMID/rootfs"},
	{has(`CT is locked \(`), driver.ErrBusy, "wait for that task, or take the lock away with pct unlock when there is none"},
	{has(`can't lock file '.*' - got timeout`), driver.ErrBusy, "another command works on the guest; try again"},
	{has(`detected modified configuration`), driver.ErrBusy, "the guest was changed at the same moment; try again"},
	{has(`already running|container is running|can't overwrite running container|if the CT is running`), driver.ErrRunning, ""},
	{has(`(CT|VM) \d+ not running`), driver.ErrNotRunning, ""},
	{has(`protection mode enabled`), driver.ErrProtected, "pct set VMID --protection 0 allows it"},
	{has(`base volume '[^']*' is still in use by linked clone`), driver.ErrInUse, "remove those guests first"},
	{has(`Linked clone feature for '.*' is not available|Template feature is not available for '|parameter 'storage' not allowed for linked clones|unable to clone mountpoint`), driver.ErrNoClone, "restore the archive: provision.clone: never"},
	{has(`used in HA resources`), driver.ErrProtected, "take the guest out of HA first: ha-manager remove ct:VMID"},
	{has(`There is a replication job|to a replicated VM`), driver.ErrProtected, "remove the guest's replication job first: pvesr delete JOB"},
	{has(`if it's a template|convert a template`), driver.ErrProtected, "a template cannot run: clone it, or restore the archive"},
	{has(`(?i)no space left on device|insufficient free space|not enough free space|out of space|disk quota exceeded|free space in thin pool \S+ reached threshold`), driver.ErrNoSpace, "make space on the storage, or name another or a larger root file system"},
	{has(`command '.*' failed: (got signal \d+|interrupted by signal)`), driver.ErrNotReady, "it was ended from outside, by an administrator, a shutdown or for want of memory (journalctl -k); try again"},
	{has(`got lock (request )?timeout|failed: got timeout|dataset is busy|image still has watchers`), driver.ErrNotReady, "the storage is busy with another task; try again"},
	{has(`(could not|unable to) activate storage '|no such logical volume|Volume group ".*" not found`), driver.ErrNoStorage, "pvesm status says which storages this node reaches"},
	{has(`storage: No such storage|storage '[^']*' (does not exist|is disabled|is not available|is not online|does not support container)`), driver.ErrNoStorage, storageHint},
	{has(`bridge '[^']*' does not exist`), driver.ErrNoBridge, "name a bridge of this node; ip link show type bridge lists them"},
	{has(`unsupported debian version`), driver.ErrArchive, "pve-container is too old for the archive's Debian: apt full-upgrade"},
	{has(`can't find file '|volume '[^']*:backup/[^']*' does not exist|archive contains no configuration file|content type needs to be 'backup'|unrecognized compression format|does not look like a template archive|configuration could not be recovered|unable to detect disk size|unable to parse version info|unable to detect OS distribution|unable to parse (volume ID|directory volume name)`), driver.ErrArchive, "felhom-golden verify says what is wrong with an archive"},
	{has(`volume '[^']*' does not exist`), driver.ErrStart, "the guest's disk is gone: bring its storage back, or remove the guest"},
	{has(`missing '(arch|ostype)' - internal error`), driver.ErrStart, "an interrupted restore left it: pct destroy VMID removes it"},
	{has(`mount points configured, but 'rootfs' not set`), driver.ErrRefused, ""},
	{has(`command '.*tar .*' failed`), driver.ErrArchive, "felhom-golden verify says what is wrong with an archive"},
	{has(`startup for container '.*' failed|systemctl start pve-container@\d+' failed|hookscript error for`), driver.ErrStart, "pct start VMID --debug 1 shows what LXC's hooks say"},
	{has(`MTU size|unable to hotplug|read-only option|unable to shrink disk size|disk is already at specified size|delete required option|no options specified|(too many|not enough) arguments|Parameter verification failed|unable to parse option|Unknown option|Permission check failed`), driver.ErrRefused, "man pct.conf and man pct say what PVE takes"},
}

func has(pattern string) *regexp.Regexp { return regexp.MustCompile(pattern) }

// classify makes an error from the output of a program that was called with args. A
// worker's stderr is merged into stdout, so both are searched, stderr first.
func classify(command string, args []string, stdout, stderr string) error {
	words := lastWords(stdout, stderr)
	stdout, stderr = withoutNames(stdout, args), withoutNames(stderr, args)
	for _, text := range []string{stderr, stdout} {
		for _, r := range rules {
			if errors.Is(r.is, driver.ErrArchive) && stdoutSaysFull(stdout) {
				continue // tar failed because of the disk, not of the archive
			}
			if r.text.MatchString(text) {
				return driver.Fault(r.is, r.hint, fmt.Errorf("%w: %s: %s", r.is, command, words))
			}
		}
	}
	return fmt.Errorf("%s failed: %s", command, words)
}

var diskFull = has(`(?i)no space left on device|disk quota exceeded`)

func stdoutSaysFull(stdout string) bool { return diskFull.MatchString(stdout) }

// maxWords is how much of PVE's output an error has.
const maxWords = 1 << 10

// reasons matches lines of a worker that say more than its last line.
var reasons = has(`^(tar: |/\*stdin\*\\ : |run_buffer: )`)

// lastWords returns PVE's own message: stderr without usage lines, and the
// output of tar, its decompressor or a hook.
func lastWords(stdout, stderr string) string {
	var lines []string
	for line := range strings.SplitSeq(stdout, "\n") {
		if reasons.MatchString(line) && len(lines) < 5 {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	for line := range strings.SplitSeq(stderr, "\n") {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "pct ") && !strings.HasPrefix(line, "pvesh ") && !strings.HasPrefix(line, "pvesm ") {
			lines = append(lines, line)
		}
	}
	words := termtext.Line(strings.Join(lines, "; "), 0)
	switch {
	case words == "":
		return "it did not say why"
	case len(words) > maxWords:
		return termtext.Tail(words, maxWords)
	}
	return words
}
