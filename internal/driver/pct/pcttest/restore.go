package pcttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/felhom/felhom-golden/internal/pctconf"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

var templateName = regexp.MustCompile(`\.tar(\.(gz|bz2|xz|lzo|zst))?$`)

func (p *process) restore(vmid int) int {
	archive, code := p.archivePath(p.words[1])
	if archive == "" {
		return code
	}
	if p.options["rootfs"] == "" {
		for key := range p.options {
			if isMountKey(key) {
				return p.fail("mount points configured, but 'rootfs' not set - aborting")
			}
		}
	}
	storage := p.options["storage"]
	if storage == "" {
		storage = "local"
	}
	if s, _, ok := strings.Cut(p.options["rootfs"], ":"); ok {
		storage = s
	}
	if text := p.storageFault(storage); text != "" {
		return p.die(syscall.EBADF, "%s", text)
	}
	if p.options["force"] == "1" {
		return p.die(255, "the stand-in does not restore by force") // an adapter never asks for it
	}
	f, err := os.OpenFile(confPath(p.dir, vmid), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return p.die(syscall.ENOTTY, "CT %d already exists on node '%s'", vmid, NodeName)
	}
	if _, err := f.WriteString("lock: create\n"); err != nil {
		panic(err)
	}
	if err := f.Close(); err != nil {
		panic(err)
	}
	if p.state.Faults.LoseRestore {
		return p.undo(vmid, 0)
	}
	return p.restoreWorker(vmid, archive, storage)
}

// archivePath resolves a volume, and checks what PVE checks before the worker.
func (p *process) archivePath(archive string) (path string, code int) {
	if filepath.IsAbs(archive) {
		if _, err := os.Stat(archive); err != nil {
			return "", p.die(syscall.ENOENT, "can't find file '%s'", archive)
		}
		return archive, 0
	}
	storage, volume, _ := strings.Cut(archive, ":")
	st := p.state.Storages[storage]
	name, isBackup := strings.CutPrefix(volume, "backup/")
	switch {
	case st == nil:
		return "", p.die(syscall.ENOENT, "storage '%s' does not exist", storage)
	case !isBackup:
		return "", p.die(255, "unable to use volume %s - content type needs to be 'backup'", archive)
	}
	path = filepath.Join(st.Path, "dump", name)
	if _, err := os.Stat(path); err != nil {
		return "", p.die(syscall.ENOENT, "volume '%s' does not exist", archive)
	}
	return path, 0
}

func (p *process) storageFault(name string) string {
	st := p.state.Storages[name]
	switch {
	case st == nil:
		return fmt.Sprintf("storage '%s' does not exist", name)
	case st.Disabled:
		return fmt.Sprintf("storage '%s' is disabled", name)
	case st.Inactive:
		return fmt.Sprintf("storage '%s' is not available on node '%s'", name, NodeName)
	case !slices.Contains(strings.Split(st.Content, ","), "rootdir"):
		return fmt.Sprintf("storage '%s' does not support container directories", name)
	}
	return ""
}

// undo frees what a failed restore made.
func (p *process) undo(vmid, code int) int {
	p.freeVolumes(func(storage, volume string) bool { return storage+":"+volume == p.made })
	if err := os.Remove(confPath(p.dir, vmid)); err != nil {
		panic(err)
	}
	return code
}

func (p *process) restoreWorker(vmid int, archive, storage string) int {
	fail := func(format string, args ...any) int {
		return p.undo(vmid, p.fail("unable to restore CT %d - "+format, append([]any{vmid}, args...)...))
	}
	if !templateName.MatchString(archive) {
		return fail("unrecognized compression format: %s", filepath.Ext(archive))
	}
	p.log("recovering backed-up configuration from '%s'", archive)
	conf, err := scan(archive, true)
	switch {
	case err != nil:
		return fail("%s", p.tarFailure(err))
	case conf == nil:
		return fail("ERROR: archive contains no configuration file")
	}
	volume := fmt.Sprintf("vm-%d-disk-0", vmid)
	p.made = storage + ":" + volume
	err = withState(p.dir, func(s *state) { s.Storages[storage].Volumes = append(s.Storages[storage].Volumes, volume) })
	if err != nil {
		panic(err)
	}
	p.log("  Logical volume \"%s\" created.\nrestoring '%s' now..", volume, archive)
	if f := p.state.Faults; f.PauseRestore {
		p.waitForTERM(f.Touch)
		if f.KeepHalf {
			return p.fail("unable to restore CT %d - received interrupt", vmid)
		}
		return fail("received interrupt")
	}
	if p.state.Faults.DiskFull {
		p.log("tar: ./usr/lib/x: Cannot write: No space left on device\ntar: Exiting with failure status due to previous errors")
		return fail("%s", tarCommand)
	}
	if _, err := scan(archive, false); err != nil {
		return fail("%s", p.tarFailure(err))
	}
	config := p.merge(vmid, conf, storage, volume)
	if err := writeConf(p.dir, vmid, config); err != nil {
		panic(err)
	}
	if rules := p.state.Faults.RestoreRules; rules != "" {
		if err := os.WriteFile(firewallPath(p.dir, vmid), []byte(rules), 0o640); err != nil {
			panic(err)
		}
	}
	if lines := p.state.Faults.RestoreAdds; lines != "" {
		if err := os.WriteFile(confPath(p.dir, vmid), append(config.Format(), lines...), 0o640); err != nil {
			panic(err)
		}
	}
	if p.options["start"] == "1" {
		p.start(vmid) // a nested task, whose failure is not passed on
	}
	return 0
}

const tarCommand = "command 'lxc-usernsexec -m u:0:100000:65536 -m g:0:100000:65536 -- tar xpf - --zstd --totals --one-file-system -p --sparse --numeric-owner --acls --xattrs -C /var/lib/lxc/rootfs --skip-old-files --anchored --exclude './dev/*'' failed: exit code 2"

// tarFailure has tar say its reason on the worker's output.
func (p *process) tarFailure(err error) string {
	p.log("tar: %v\ntar: Unexpected EOF in archive\ntar: Error is not recoverable: exiting now", err)
	return tarCommand
}

// waitForTERM says that it is half-way and waits to be stopped.
func (p *process) waitForTERM(touch string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := os.WriteFile(touch, []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		panic(err)
	}
	<-ctx.Done()
}

// scan reads an archive to its end, or until it has the configuration.
func scan(path string, untilConfig bool) (conf []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	r, err := vzdump.NewReader(f, vzdump.Limits{})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return conf, nil
		}
		if err != nil {
			return nil, err
		}
		if !strings.HasSuffix(e.RawName, "./etc/vzdump/pct.conf") {
			continue
		}
		if conf, err = io.ReadAll(r); err != nil || untilConfig {
			return conf, err
		}
	}
}

// neverMerged are keys of the archive that a restore leaves behind.
var neverMerged = []string{"rootfs", "parent", "lock", "template"}

// merge makes the new guest's configuration of the archive's and the options.
func (p *process) merge(vmid int, conf []byte, storage, volume string) *pctconf.Config {
	old, _ := pctconf.Parse(conf)
	config := &pctconf.Config{Description: old.Description, LXC: old.LXC}
	for _, s := range old.Settings {
		if !slices.Contains(neverMerged, s.Key) && !isMountKey(s.Key) && !strings.HasPrefix(s.Key, "unused") {
			config.Settings = append(config.Settings, s) // a wrong value too, with a warning at most
		}
	}
	size := p.options["rootfs"]
	if _, after, ok := strings.Cut(size, ":"); ok {
		size = after
	}
	p.put(config, "rootfs", fmt.Sprintf("%s:%s,size=%sG", storage, volume, size))
	for key, value := range p.options {
		switch {
		case key == "description":
			config.Description = value
		case key == "rootfs", key == "storage", key == "unique", key == "start", key == "force":
		case strings.HasPrefix(key, "net"):
			if _, there := config.Get(key); p.options["unique"] != "1" || !there {
				p.put(config, key, p.freshMAC(value, false))
			} // with unique the given line is lost
		default:
			p.put(config, key, value)
		}
	}
	for i, s := range config.Settings {
		if p.options["unique"] == "1" && strings.HasPrefix(s.Key, "net") {
			config.Settings[i].Value = p.freshMAC(s.Value, true)
		}
	}
	for key, value := range map[string]string{"hostname": fmt.Sprintf("CT%d", vmid), "memory": "512", "swap": "512"} {
		if _, there := config.Get(key); !there {
			p.put(config, key, value)
		}
	}
	return config
}

func (p *process) put(config *pctconf.Config, key, value string) {
	if err := config.Set(key, value); err != nil {
		panic(err)
	}
}
