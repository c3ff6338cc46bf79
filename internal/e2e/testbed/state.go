package testbed

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/felhom/felhom-golden/internal/atomicfile"
)

// home holds one directory for each bed. It is not under /tmp, where others could
// put something in root's way.
const home = "/var/lib/felhom-testbed"

const stateFile = "state.json"

// state is what a bed has made outside its directory. It is written before the
// thing is made, so that the next start can remove it after a SIGKILL.
type state struct {
	Owner   process   `json:"owner"`
	BootID  string    `json:"boot_id"` // a reboot ends processes and bridges, and reuses their numbers
	Bridge  string    `json:"bridge,omitempty"`
	CertDir string    `json:"cert_dir,omitempty"`
	Cgroup  string    `json:"cgroup,omitempty"`
	Daemons []process `json:"daemons,omitempty"`
}

// process identifies one process: a number alone is reused.
type process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot, field 22 of /proc/PID/stat
}

func (s *state) save(dir string) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	return atomicfile.Write(root, stateFile, append(data, '\n'), atomicfile.Attr{Mode: 0o600})
}

// findProcess returns the process that has this number now.
func findProcess(pid int) (process, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return process{}, err
	}
	start, err := parseStartTime(string(stat))
	return process{PID: pid, Start: start}, err
}

// parseStartTime reads field 22 of a /proc/PID/stat. The name in field 2 may
// hold spaces and brackets; the fields behind it are counted from its last one.
func parseStartTime(stat string) (uint64, error) {
	end := strings.LastIndexByte(stat, ')')
	fields := strings.Fields(stat[end+1:])
	if end < 0 || len(fields) < 20 {
		return 0, fmt.Errorf("unexpected form of /proc/PID/stat: %q", stat)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

func (p process) alive() bool {
	now, err := findProcess(p.PID)
	return err == nil && now == p
}

func bootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id)), err
}

// sweep takes down what is left of beds whose owner was killed. It leaves
// running beds alone. The caller holds the lock.
func sweep(logf func(string, ...any)) error {
	entries, err := os.ReadDir(home)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	boot, err := bootID()
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		dir := filepath.Join(home, e.Name())
		var s state
		data, err := os.ReadFile(filepath.Join(dir, stateFile))
		if err == nil {
			err = json.Unmarshal(data, &s)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("leftover of an earlier run in %s: %w", dir, err)
		}
		rebooted := s.BootID != boot
		if !rebooted && s.Owner.alive() {
			continue
		}
		logf("cleaning up after an earlier run that was killed (%s)", e.Name())
		if err := errors.Join(stopGuests(lxcPath(dir)), s.takeDown(rebooted)); err != nil {
			return fmt.Errorf("clean up after an earlier run: %w", err)
		}
		if err := errors.Join(unmountDir(dir), os.RemoveAll(dir)); err != nil {
			return fmt.Errorf("clean up after an earlier run: %w", err)
		}
	}
	return nil
}

// takeDown removes what a dead bed left outside its directory.
func (s *state) takeDown(rebooted bool) error {
	var errs []error
	if !rebooted {
		for _, p := range s.Daemons {
			if p.alive() {
				errs = append(errs, syscall.Kill(p.PID, syscall.SIGKILL))
			}
		}
		errs = append(errs, removeBridge(s.Bridge), removeCgroup(s.Cgroup))
	}
	return errors.Join(append(errs, removeCertDir(s.CertDir))...)
}
