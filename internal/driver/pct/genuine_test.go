package pct_test

import (
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/pct"
	"github.com/felhom/felhom-golden/internal/driver/pct/pcttest"
	"github.com/felhom/felhom-golden/internal/fault"
)

// genuine are what PVE's own programs were seen to say and to exit with.
var genuine = []struct {
	name      string
	prepare   func(*testing.T, *pcttest.Node)
	command   string // the words, without spaces in them
	code      int
	stdout    string
	stderr    string
	class     error // nil: the driver has no class for it
	isUseless bool  // no hint can help
}{
	{"lock destroyed", conf("lock: destroyed\n"), "pct destroy 8200", 255, "", "CT is locked (destroyed)", driver.ErrBusy, false},
	{"partial guest", conf("unprivileged: 1\n"), "pct start 8200", 255, "", "missing 'arch' - internal error at ", driver.ErrStart, false},
	{"missing config", nil, "pct set 8200 --cores 2", 2, "", "Configuration file 'nodes/pve/lxc/8200.conf' does not exist", driver.ErrNotFound, true},
	{"missing config of start", nil, "pct start 8200", 255, "", "Configuration file 'nodes/pve/lxc/8200.conf' does not exist", driver.ErrNotFound, true},
	{"stop of an unknown guest", nil, "pct stop 8200", 255, "", "CT 8200 not running", driver.ErrNotRunning, true},
	{"shutdown of an unknown guest", nil, "pct shutdown 8200", 255, "", "CT 8200 not running", driver.ErrNotRunning, true},
	{"missing bridge", conf(strings.Replace(guestConfig, "vmbr0", "vmbr9", 1)), "pct set 8200 --cores 2", 2, "", "bridge 'vmbr9' does not exist", driver.ErrNoBridge, false},
	{"failed hot-plug", running, "pct set 8200 --mp0 /nonexistent,mp=/mnt", 1, "", "400 Parameter verification failed.\nmp0: unable to hotplug mp0: ", driver.ErrRefused, false},
	{"unknown path", nil, "pvesh get /nothing", 1, "", "No 'get' handler defined for '/nothing'", nil, true},
	{"unknown node", nil, "pvesh get /nodes/web/tasks --output-format json", 11, "", "hostname lookup 'web' failed", driver.ErrNotReady, false},
	{"unknown storage by the API", nil, "pvesh get /nodes/pve/storage/nope/status --output-format json", 255, "", "400 Parameter verification failed.\nstorage: No such storage.\n\npvesh ", driver.ErrNoStorage, false},
	{"unknown storage by pvesm", nil, "pvesm status --storage nope", 255, "", "400 Parameter verification failed.\nstorage: No such storage.\n\npvesm ", driver.ErrNoStorage, false},
	{"unknown storage", nil, "pct restore 8200 local:backup/" + golden + " --storage nope", 255, "", "400 Parameter verification failed.\nstorage: No such storage.\n\npct restore ", driver.ErrNoStorage, false},
	{
		"storage without rootdir", nil, "pct restore 8200 local:backup/" + golden + " --rootfs local:4", 255, "",
		"400 Parameter verification failed.\nstorage: storage 'local' does not support container directories\n\npct restore ", driver.ErrNoStorage, false,
	},
	{
		"missing file", nil, "pct restore 8200 /nonexistent.tar.zst --rootfs local-lvm:4", 255, "recovering backed-up configuration from '/nonexistent.tar.zst'",
		"unable to restore CT 8200 - can't find file '/nonexistent.tar.zst'", driver.ErrArchive, false,
	},
	{
		"missing volume of a backup", nil, "pct restore 8200 local:backup/x.tar --rootfs local-lvm:4", 255, "recovering backed-up configuration from 'local:backup/x.tar'",
		"unable to restore CT 8200 - can't find file ", driver.ErrArchive, false,
	},
	{
		"truncated archive", func(t *testing.T, n *pcttest.Node) { t.Helper(); archive(t, n, "short.tar.zst", goldenConfig, 40) },
		"pct restore 8200 local:backup/short.tar.zst --rootfs local-lvm:4", 255, "/*stdin*\\ : Read error (39) : premature end", "unable to restore CT 8200 - command '", driver.ErrArchive, false,
	},
	{
		"tgz that is a plain tar", func(t *testing.T, n *pcttest.Node) { t.Helper(); bare(t, n, "plain.tgz") },
		"pct restore 8200 local:backup/plain.tgz --rootfs local-lvm:4", 255, "", "ERROR: archive contains no configuration file", driver.ErrArchive, false,
	},
	{"missing disk", func(t *testing.T, n *pcttest.Node) {
		t.Helper()
		n.SetConfig(vmid, guestConfig)
		n.SetFaults(pcttest.Faults{DiskGone: true})
	}, "pct start 8200", 255, "", "volume 'local-lvm:vm-8200-disk-0' does not exist", driver.ErrStart, false},
	{
		"failed hook", conf(guestConfig + "mp0: /nonexistent,mp=/mnt\n"), "pct start 8200", 255,
		"run_buffer: 322 Script exited with status 2\nlxc_init: 844 ", "startup for container '8200' failed", driver.ErrStart, false,
	},
	{"free of a missing disk", dirStorage, "pvesm free data:304/vm-304-disk-0.raw", 0, "Removed volume 'data:304/vm-304-disk-0.raw'", "disk image '", nil, true},
	{"path of another file", nil, "pvesm path local:backup/odd.txt", 255, "", "unable to parse directory volume name", driver.ErrArchive, false},
	{"path of nonsense", nil, "pvesm path nonsense", 255, "", "400 Parameter verification failed.\nvolume: ", driver.ErrArchive, false},
	{"required option", conf(guestConfig), "pct set 8200 --delete memory", 255, "", "unable to delete required option 'memory'", driver.ErrRefused, false},
	{"option that is not set", conf(guestConfig), "pct set 8200 --delete mp7", 0, "", "cannot delete 'mp7' - not set in current configuration!", nil, true},
	{"long description", conf(guestConfig), "pct set 8200 --description " + strings.Repeat("x", 9000), 255, "", "value may only be 8192 characters long", driver.ErrRefused, false},
	{"mount point too many", conf(guestConfig), "pct set 8200 --mp256 /srv,mp=/mnt", 255, "", "Unknown option: mp256\n400 unable to parse option", driver.ErrRefused, false},
	{"word for a number", conf(guestConfig), "pct set 8200 --cores x", 255, "", "cores: type check ('integer') failed - got 'x'\n\npct set ", driver.ErrRefused, false},
	{
		"wrong address", conf(guestConfig), "pct set 8200 --net0 name=eth0,bridge=vmbr0,ip=1.2.3", 255, "",
		"net0.ip: invalid format - value does not look like a valid ipv4 network configuration", driver.ErrRefused, false,
	},
	{"source that leaves", conf(guestConfig), "pct set 8200 --mp0 /srv/../etc,mp=/mnt", 255, "", "mp0.volume: ", driver.ErrRefused, false},
	{"mount without a target", conf(guestConfig), "pct set 8200 --mp0 /srv", 255, "", "mp0.mp: property is missing and it is not optional", driver.ErrRefused, false},
	{"argument too many", nil, "pct start 8200 8201", 255, "", "400 too many arguments", driver.ErrRefused, false},
	{"clone of what does not exist", templated, "pct clone 9901 8200", 2, "", "Configuration file 'nodes/pve/lxc/9901.conf' does not exist", driver.ErrNotFound, true},
	{"linked clone with a storage", templated, "pct clone 9900 8200 --full 0 --storage local-lvm", 255, "", "parameter 'storage' not allowed for linked clones", driver.ErrNoClone, false},
	{"linked clone of a guest", templated, "pct clone 8300 8200 --full 0", 255, "", "Linked clone feature for 'fast:subvol-8300-disk-0' is not available", driver.ErrNoClone, false},
	{"clone over a guest", templated, "pct clone 9900 8300", 255, "", "CT 8300 already exists on node 'pve'", driver.ErrExists, false},
	{"template of a template", templated, "pct template 9900", 255, "", "you can't convert a template to a template", driver.ErrProtected, false},
	{"start of a template", templated, "pct start 9900", 255, "", "you can't start a CT if it's a template", driver.ErrProtected, false},
	{"destroy of a template", templated, "pct destroy 9900", 255, "", "protection mode enabled", driver.ErrProtected, false},
	{"free of a base in use", templated, "pvesm free fast:basevol-9900-disk-0", 255, "", "base volume 'basevol-9900-disk-0' is still in use by linked clones", driver.ErrInUse, false},
	{"template of a guest with a mount", conf(guestConfig + "mp0: /srv,mp=/mnt\n"), "pct template 8200", 0, "", "Template feature is not available for '/srv'", nil, true},
	{"shrink", templated, "pct resize 8300 rootfs 1G", 255, "", "unable to shrink disk size", driver.ErrRefused, false},
	{"same size", templated, "pct resize 8300 rootfs 4G", 255, "", "disk is already at specified size", driver.ErrRefused, false},
	{"protection", conf(guestConfig + "protection: 1\n"), "pct destroy 8200", 255, "", "protection mode enabled", driver.ErrProtected, false},
}

func conf(text string) func(*testing.T, *pcttest.Node) {
	return func(t *testing.T, n *pcttest.Node) { t.Helper(); n.SetConfig(vmid, text) }
}

// templated is a node with the template 9900, a guest 8300, and a clone.
func templated(t *testing.T, n *pcttest.Node) {
	t.Helper()
	n.SetStorage("fast", pcttest.Storage{Type: "zfspool", Content: "rootdir", Avail: 1 << 40, Volumes: []string{"basevol-9900-disk-0", "subvol-8300-disk-0", "basevol-9900-disk-0/subvol-8301-disk-0"}})
	guest := func(vmid int, volume, more string) {
		n.SetConfig(vmid, strings.Replace(guestConfig, "local-lvm:vm-8200-disk-0", "fast:"+volume, 1)+more)
	}
	guest(9900, "basevol-9900-disk-0", "protection: 1\ntemplate: 1\n")
	guest(8300, "subvol-8300-disk-0", "")
	guest(8301, "basevol-9900-disk-0/subvol-8301-disk-0", "")
}

func running(t *testing.T, n *pcttest.Node) {
	t.Helper()
	n.SetConfig(vmid, guestConfig)
	if err := open(t, options(n)).Start(t.Context(), vmid); err != nil {
		t.Fatal(err)
	}
}

func dirStorage(t *testing.T, n *pcttest.Node) {
	t.Helper()
	n.SetStorage("data", pcttest.Storage{Type: "dir", Content: "rootdir,images", Avail: 1 << 40})
}

// The stand-in is what PVE is, and the driver knows what it says.
func TestGenuineTexts(t *testing.T) {
	for _, c := range genuine {
		t.Run(c.name, func(t *testing.T) {
			n, _ := newDriver(t)
			if c.prepare != nil {
				c.prepare(t, n)
			}
			words := strings.Fields(c.command)
			var stdout, stderr strings.Builder
			cmd := exec.CommandContext(t.Context(), n.Bin(words[0]), words[1:]...) //nolint:gosec // the stand-in
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			var exited *exec.ExitError
			if err := cmd.Run(); err != nil && !errors.As(err, &exited) {
				t.Fatal(err)
			}
			if got := cmd.ProcessState.ExitCode(); got != c.code || !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) {
				t.Errorf("exit status %d, stdout\n%s\nstderr\n%s\nwant %d, %q, %q", got, stdout.String(), stderr.String(), c.code, c.stdout, c.stderr)
			}
			if c.code == 0 {
				return
			}
			err := pct.Classify("pct", nil, stdout.String(), stderr.String())
			if c.class != nil && !errors.Is(err, c.class) || c.class == nil && errors.Is(err, driver.ErrRefused) {
				t.Errorf("error %v, want %v", err, c.class)
			}
			if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "[OPTIONS]") || (fault.HintOf(err) == "") != c.isUseless {
				t.Errorf("error %q, hint %q", err, fault.HintOf(err))
			}
		})
	}
}

// PVE's answers in JSON have the types that it was seen to give.
func TestGenuineJSON(t *testing.T) {
	n, _ := newDriver(t)
	dirStorage(t, n)
	running(t, n)
	n.SetConfig(304, strings.ReplaceAll(guestConfig, "8200", "304")+"cores: 2\nonboot: 0\n")
	n.SetStorage("data", pcttest.Storage{Type: "dir", Content: "rootdir", Volumes: []string{"304/vm-304-disk-0.raw"}, Path: n.Dir("storages/data")})
	n.SetStorage("off", pcttest.Storage{Type: "dir", Content: "rootdir", Disabled: true})
	for resource, wants := range map[string][]string{
		"lxc/304/config":                    {`"cores":2`, `"memory":512`, `"onboot":0`, `"unprivileged":1`},
		"lxc/304/pending":                   {`"key":"digest"`},
		"lxc/8200/status/current":           {`"disk":734003200`, `"status":"running"`, `"maxmem":`, `"netin":`, `"uptime":`},
		"storage/data/content --vmid=304":   {`"volid":"data:304/vm-304-disk-0.raw"`, `"format":"raw"`, `"parent":null`, `"size":`, `"used":`, `"vmid":`},
		"storage/off/status --no-such-word": nil,
		"storage/off/status":                {`"total":0`, `"used":0`, `"enabled":0`},
	} {
		words := slices.Concat([]string{"get"}, strings.Fields("/nodes/pve/"+resource), []string{"--output-format", "json"})
		out, err := exec.CommandContext(t.Context(), n.Bin("pvesh"), words...).Output() //nolint:gosec // the stand-in
		if wants == nil {
			if err == nil {
				t.Errorf("%s: no error", resource)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", resource, err)
		}
		for _, want := range wants {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s: no %s in\n%s", resource, want, out)
			}
		}
	}
}
