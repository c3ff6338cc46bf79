package pcttest

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/felhom/felhom-golden/internal/pctconf"
)

// process is one run of one of the programs.
type process struct {
	dir    string // the node
	args   []string
	stdout io.Writer
	stderr io.Writer
	state  state // as it was at the start

	made    string            // the volume of a restore
	words   []string          // positional arguments
	options map[string]string // without their hyphens
}

func newProcess() *process {
	p := &process{dir: filepath.Dir(filepath.Dir(os.Args[0])), args: os.Args[1:], stdout: os.Stdout, stderr: os.Stderr, options: map[string]string{}}
	err := withState(p.dir, func(s *state) {
		s.Calls = append(s.Calls, strings.Join(append([]string{filepath.Base(os.Args[0])}, p.args...), " "))
		p.state = *s
	})
	if err != nil {
		panic(fmt.Sprintf("state of the node: %v", err))
	}
	return p
}

// parse takes positional words and "--key value" or "-key value" apart.
func (p *process) parse(args, known []string) bool {
	for i := 0; i < len(args); i++ {
		word := args[i]
		if !strings.HasPrefix(word, "-") {
			p.words = append(p.words, word)
			continue
		}
		key, value, joined := strings.Cut(strings.TrimLeft(word, "-"), "=")
		if !slices.ContainsFunc(known, func(k string) bool { return matches(k, key) }) {
			p.say("Unknown option: %s\n400 unable to parse option", key)
			return false
		}
		if !joined {
			if i++; i == len(args) {
				p.say("Option %s requires an argument\n400 unable to parse option", key)
				return false
			}
			value = args[i]
		}
		p.options[key] = value
	}
	return true
}

// matches reports whether key is known, or known with a number ("mpN").
func matches(known, key string) bool {
	prefix, numbered := strings.CutSuffix(known, "N")
	if !numbered {
		return known == key
	}
	n, err := strconv.Atoi(strings.TrimPrefix(key, prefix))
	last := map[string]int{"mp": 255, "net": 31}[prefix]
	return err == nil && strings.HasPrefix(key, prefix) && n >= 0 && n <= last
}

// say writes to stderr.
func (p *process) say(format string, args ...any) { fmt.Fprintf(p.stderr, format+"\n", args...) }

// log writes what a worker says: stdout and stderr of a worker are both on
// stdout of the program.
func (p *process) log(format string, args ...any) { fmt.Fprintf(p.stdout, format+"\n", args...) }

// die is how perl ends a command that is not a task: the exit status is the
// errno that was left over, mostly 255, which says nothing of the failure.
func (p *process) die(errno syscall.Errno, format string, args ...any) int {
	p.say(format, args...)
	return int(errno)
}

// fail is how a task ends: one line on stderr, and 255.
func (p *process) fail(format string, args ...any) int {
	p.say("%s", strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " "))
	return 255
}

// badParameter is how a wrong value is refused.
func (p *process) badParameter(usage, key, text string) int {
	p.say("400 Parameter verification failed.\n%s: %s\n\n%s", key, text, usage)
	return 255
}

const missing = "Configuration file 'nodes/%s/lxc/%d.conf' does not exist"

func (p *process) confMissing(vmid int) int {
	return p.die(syscall.ENOENT, missing, NodeName, vmid)
}

// mac draws the next address of the datacenter's prefix.
func (p *process) mac() string {
	var n int
	if err := withState(p.dir, func(s *state) { s.MACs++; n = s.MACs }); err != nil {
		panic(err)
	}
	return fmt.Sprintf("BC:24:11:%02X:%02X:%02X", n>>16&0xff, n>>8&0xff, n&0xff)
}

// freshMAC gives a net line a hardware address where it has none, or another
// one.
func (p *process) freshMAC(value string, replace bool) string {
	props, err := pctconf.ParseProperties(value, "")
	if err != nil || props["hwaddr"] != "" && !replace {
		return value
	}
	props["hwaddr"] = p.mac()
	var parts []string
	for key, v := range props {
		parts = append(parts, key+"="+v)
	}
	value, err = pctconf.Canonical("net0", strings.Join(parts, ","))
	if err != nil {
		panic(err)
	}
	return value
}

// bridgeMissing looks for the bridges of all interfaces.
func (p *process) bridgeMissing(config *pctconf.Config) string {
	for _, s := range config.Settings {
		if !strings.HasPrefix(s.Key, "net") || strings.TrimLeft(s.Key[3:], "0123456789") != "" {
			continue
		}
		props, err := pctconf.ParseProperties(s.Value, "")
		if err != nil || props["bridge"] == "" {
			continue
		}
		if _, err := os.Stat(filepath.Join(p.dir, "net", props["bridge"])); err != nil {
			return props["bridge"]
		}
	}
	return ""
}

func isMountKey(key string) bool {
	return strings.HasPrefix(key, "mp") && strings.Trim(key[2:], "0123456789") == "" && key != "mp"
}

// bindMounts returns the bind mounts of a configuration, key to properties.
func bindMounts(config *pctconf.Config) map[string]pctconf.Properties {
	mounts := map[string]pctconf.Properties{}
	for _, s := range config.Settings {
		if !isMountKey(s.Key) {
			continue
		}
		if props, err := pctconf.ParseProperties(s.Value, "volume"); err == nil && strings.HasPrefix(props["volume"], "/") {
			mounts[s.Key] = props
		}
	}
	return mounts
}

// mountFault is what keeps a source from being mounted, in PVE's words.
func mountFault(source string) string {
	at := "/"
	for part := range strings.SplitSeq(strings.Trim(source, "/"), "/") {
		at = filepath.Join(at, part)
		info, err := os.Lstat(at)
		switch {
		case err != nil, !info.IsDir() && info.Mode()&os.ModeSymlink == 0:
			return fmt.Sprintf("directory '%s' does not exist", source)
		case info.Mode()&os.ModeSymlink != 0:
			return "symlink encountered at: /" + at
		}
	}
	return ""
}
