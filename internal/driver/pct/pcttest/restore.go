package pcttest

import (
	"cmp"
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

const restoreUsage = "pct restore <vmid> <ostemplate> [OPTIONS]"

func (p *process) restore(vmid int) int {
	if p.options["rootfs"] == "" {
		for key := range p.options {
			if isMountKey(key) {
				return p.die(255, "mount points configured, but 'rootfs' not set - aborting")
			}
		}
	}
	if storage, volume, ok := strings.Cut(p.words[1], ":"); ok && !filepath.IsAbs(p.words[1]) && !strings.HasPrefix(volume, "backup/") {
		return p.die(255, "unable to use volume %s:%s - content type needs to be 'backup'", storage, volume)
	}
	storage := cmp.Or(p.options["storage"], "local")
	if p.state.Storages[storage] == nil && p.options["storage"] != "" {
		return p.noStorage(restoreUsage)
	}
	if s, _, ok := strings.Cut(p.options["rootfs"], ":"); ok {
		storage = s
	}
	st := p.state.Storages[storage]
	switch {
	case st == nil:
		return p.die(255, "storage '%s' does not exist", storage)
	case st.Disabled:
		return p.die(255, "storage '%s' is disabled", storage)
	case st.Inactive:
		return p.die(255, "storage '%s' is not available on node '%s'", storage, NodeName)
	case !slices.Contains(strings.Split(st.Content, ","), "rootdir"):
		return p.badParameter(restoreUsage, "storage", fmt.Sprintf("storage '%s' does not support container directories", storage))
	case p.options["force"] == "1":
		return p.die(255, "the stand-in does not restore by force") // an adapter never asks for it
	}
	f, err := os.OpenFile(confPath(p.dir, vmid), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return p.die(255, "CT %d already exists on node '%s'", vmid, NodeName)
	}
	if _, err := f.WriteString("lock: create\n"); err != nil {
		panic(err)
	}
	if err := errors.Join(f.Close(), refresh(p.dir)); err != nil {
		panic(err)
	}
	if p.state.Faults.LoseRestore {
		return p.undo(vmid, 0)
	}
	return p.restoreWorker(vmid, p.archivePath(p.words[1]), storage)
}

// archivePath resolves a volume; whether the file is there, the worker sees.
func (p *process) archivePath(archive string) string {
	storage, volume, _ := strings.Cut(archive, ":")
	if st := p.state.Storages[storage]; st != nil && !filepath.IsAbs(archive) {
		return filepath.Join(st.Path, "dump", strings.TrimPrefix(volume, "backup/"))
	}
	return archive
}

// undo frees what a failed restore made.
func (p *process) undo(vmid, code int) int {
	p.unmount(vmid)
	p.freeVolumes(func(storage, volume string) bool { return storage+":"+volume == p.made })
	if err := errors.Join(os.Remove(confPath(p.dir, vmid)), refresh(p.dir)); err != nil {
		panic(err)
	}
	return code
}

func (p *process) restoreWorker(vmid int, archive, storage string) int {
	fail := func(format string, args ...any) int {
		return p.undo(vmid, p.fail("unable to restore CT %d - "+format, append([]any{vmid}, args...)...))
	}
	p.log("recovering backed-up configuration from '%s'", p.words[1])
	if _, err := os.Stat(archive); err != nil {
		return fail("can't find file '%s'", archive)
	}
	if strings.HasSuffix(archive, ".tgz") {
		return fail("ERROR: archive contains no configuration file")
	}
	if !templateName.MatchString(archive) {
		return fail("unrecognized compression format: %s", filepath.Ext(archive))
	}
	conf, _, err := scan(archive, true)
	switch {
	case err != nil:
		return fail("%s", p.tarFailure(err))
	case conf == nil:
		return fail("ERROR: archive contains no configuration file")
	}
	volume := diskName(p.state.Storages[storage].Type, vmid)
	p.made = storage + ":" + volume
	if err := os.MkdirAll(rootfsDir(p.dir, vmid), 0o755); err != nil {
		panic(err)
	}
	err = withState(p.dir, func(s *state) {
		s.Storages[storage].Volumes = append(s.Storages[storage].Volumes, volume)
		s.Mounted = append(s.Mounted, vmid)
	})
	if err != nil {
		panic(err)
	}
	p.log("  Logical volume \"%s\" created.\nrestoring '%s' now..", volume, archive)
	if f := p.state.Faults; f.PauseRestore {
		p.waitForTERM(f.Touch)
		if f.KeepPartial {
			return p.fail("unable to restore CT %d - received interrupt", vmid)
		}
		return fail("received interrupt")
	}
	if p.state.Faults.DiskFull {
		p.log("tar: ./usr/lib/x: Cannot write: No space left on device\ntar: Exiting with failure status due to previous errors")
		return fail("%s", tarCommand)
	}
	_, rules, err := scan(archive, false)
	if err != nil {
		return fail("%s", p.tarFailure(err))
	}
	p.unmount(vmid)
	config := p.merge(vmid, conf, storage, volume)
	if err := writeConf(p.dir, vmid, config); err != nil {
		panic(err)
	}
	if len(rules) > 0 {
		if err := os.WriteFile(firewallPath(p.dir, vmid), rules, 0o640); err != nil {
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
	p.log("/*stdin*\\ : Read error (39) : premature end \ntar: %v\ntar: Unexpected EOF in archive\ntar: Error is not recoverable: exiting now", err)
	return tarCommand
}

// waitForTERM says that it is in the middle and waits to be stopped.
func (p *process) waitForTERM(touch string) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	tmp := touch + ".tmp"
	if err := errors.Join(os.WriteFile(tmp, []byte(strconv.Itoa(os.Getpid())), 0o600), os.Rename(tmp, touch)); err != nil {
		panic(err)
	}
	<-ctx.Done()
}

// scan reads an archive to its end, or until it has the configuration.
func scan(path string, untilConfig bool) (conf, rules []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	r, err := vzdump.NewReader(f, vzdump.Limits{})
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return conf, rules, nil
		}
		if err != nil {
			return nil, nil, err
		}
		switch {
		case e.RawName == "./etc/vzdump/pct.fw":
			if rules, err = io.ReadAll(r); err != nil {
				return nil, nil, err
			}
		case strings.HasSuffix(e.RawName, "./etc/vzdump/pct.conf"):
			if conf, err = io.ReadAll(r); err != nil || untilConfig {
				return conf, nil, err
			}
		}
	}
}

// unmount is what a worker does that comes to its end.
func (p *process) unmount(vmid int) {
	err := withState(p.dir, func(s *state) { s.Mounted = slices.DeleteFunc(s.Mounted, func(id int) bool { return id == vmid }) })
	if err != nil {
		panic(err)
	}
	if err := os.RemoveAll(filepath.Dir(rootfsDir(p.dir, vmid))); err != nil {
		panic(err)
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
