package stage

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/golden/internal/image"
	"github.com/felhom/felhom-golden/golden/internal/overlay"
	"github.com/felhom/felhom-golden/golden/internal/rules"
	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/regular"
	"github.com/felhom/felhom-golden/internal/scratch"
)

const (
	daemonJSON = "etc/docker/daemon.json"
	dockerUnit = "docker.service"
	maxUnits   = 4 << 20 // bytes of the unit and its drop-ins
)

// validate runs argv in a copy of the current directory that is in memory and
// ends with it: dockerd makes users and directories also when it only validates.
// The settings come on stdin.
const validate = `set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=.,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc" 2>"$1/said" || mount --rbind /proc "$1/root/proc" # in some containers the kernel mounts no new one
cat >"$1/root/run/daemon.json"
dir=$1
shift
exec chroot "$dir/root" "$@"`

// CheckEngine has the image's own dockerd validate its settings, with the flags
// of its unit. It does nothing in an image without dockerd or without settings.
func (p *Plan) CheckEngine(ctx context.Context, root string, files []overlay.File) (err error) {
	tree := merged{root: root, overlay: files}
	settings, err := tree.read(daemonJSON)
	if errors.Is(err, fs.ErrNotExist) && !tree.touchesEngine() {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Wrap(fault.Invalid, fmt.Errorf("read settings of dockerd: %w", err))
	}
	argv, err := tree.engine()
	if err != nil || len(argv) == 0 {
		return err
	}
	if _, err := os.Stat(filepath.Join(root, argv[0])); err != nil {
		return nil //nolint:nilerr // a dockerd that is not in the image runs in no guest
	}
	if err := checkLogs(settings); err != nil {
		return err
	}
	work, err := scratch.New("")
	if err != nil {
		return fmt.Errorf("validate settings of dockerd: %w", err)
	}
	defer func() { err = errors.Join(err, work.Close()) }()
	dir := work.Path
	engine := slices.Concat([]string{argv[0], "--validate"}, argv[1:])
	said, err := p.ask(ctx, root, dir, settings, engine)
	if err != nil && strings.Contains(said, "unknown flag: --validate") { // Docker before 23
		said, err = p.start(ctx, root, dir, settings, argv)
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	source := "docker.daemon"
	if _, inFiles := tree.file(daemonJSON); len(p.Recipe.Docker.Daemon) == 0 || !inFiles {
		source = "the /" + daemonJSON + " of files or scripts"
	}
	return fault.WrapHint(fault.Invalid, fmt.Errorf("validate settings of dockerd (%s): %s", source, said),
		"correct them in the recipe; its unit starts: "+strings.Join(argv, " "))
}

// checkLogs wants a bound for the logs of containers, before the work of packing.
// What is not JSON is left to dockerd, which says more.
func checkLogs(settings []byte) error {
	var daemon struct {
		LogDriver string         `json:"log-driver"`
		LogOpts   map[string]any `json:"log-opts"`
	}
	if settings == nil || json.Unmarshal(settings, &daemon) != nil {
		return nil
	}
	if _, problem := rules.LogProblem(daemon.LogDriver, daemon.LogOpts); problem != "" {
		return fault.WrapHint(fault.Invalid, fmt.Errorf("look at /%s: %s", daemonJSON, problem), "correct it where files or scripts of the recipe bring it, or leave it to docker.daemon")
	}
	return nil
}

// start has a dockerd that cannot validate begin to work. It reads its settings
// first, as "dockerd --validate" does, and then asks systemd for its sockets:
// one that gets as far as this takes its settings.
func (p *Plan) start(ctx context.Context, root, dir string, settings []byte, argv []string) (string, error) {
	if !slices.ContainsFunc(argv, func(arg string) bool {
		return strings.HasPrefix(arg, "fd://") || strings.HasPrefix(arg, "-Hfd://") || strings.HasSuffix(arg, "=fd://")
	}) {
		argv = append(slices.Clone(argv), "-H", "fd://")
	}
	short, cancel := context.WithTimeout(ctx, maxStart)
	defer cancel()
	said, err := p.ask(short, root, dir, settings, argv)
	if strings.Contains(said, "via socket activation") || (short.Err() != nil && ctx.Err() == nil) {
		return "", nil
	}
	return said, err
}

// maxStart is how long an old dockerd may take until it asks for its sockets.
const maxStart = 2 * time.Minute

// ask runs dockerd with settings in a copy of root, with dir for its mounts. It
// returns what dockerd says is wrong, in one line.
func (p *Plan) ask(ctx context.Context, root, dir string, settings []byte, argv []string) (string, error) {
	args := []string{"--mount", "--propagation=private", "--pid", "--fork", "--kill-child=SIGKILL", "--net", "--", "sh", "-c", validate, "sh", dir}
	args = append(args, argv...)
	if settings != nil {
		args = append(args, "--config-file=/run/daemon.json")
	}
	log := &transcript{}
	_, err := run.Run(ctx, run.Cmd{
		Path: "unshare", Args: args, Env: environment(p.Epoch), Dir: root,
		Stdin: bytes.NewReader(settings), Stdout: log, Stderr: log,
	})
	return complaint(log.String()), err
}

// complaint returns the last line that says something: the parser of dockerd's
// flags adds where to find help.
func complaint(log string) string {
	var last string
	for line := range strings.Lines(log) {
		line = strings.TrimSuffix(strings.TrimSpace(line), ", Code: 125")
		if line != "" && !strings.HasPrefix(line, "See 'dockerd --help'") {
			last = strings.TrimPrefix(line, "Status: ")
		}
	}
	return strings.ReplaceAll(last, " with file /run/daemon.json", "")
}

// merged is a root with an overlay, for reading.
type merged struct {
	root    string
	overlay []overlay.File
}

func (m merged) file(name string) (overlay.File, bool) {
	i := slices.IndexFunc(m.overlay, func(f overlay.File) bool { return f.Path == name })
	if i < 0 {
		return overlay.File{}, false
	}
	return m.overlay[i], true
}

func (m merged) read(name string) (_ []byte, err error) {
	f, ok := m.file(name)
	if !ok {
		r, err := os.OpenRoot(m.root)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, r.Close()) }()
		return regular.ReadIn(r, name, maxUnit)
	}
	if !f.Mode.IsRegular() {
		return nil, fs.ErrNotExist // a link, such as that of a masked unit
	}
	in, err := f.Open()
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(in, maxUnit+1))
	if err == nil && len(data) > maxUnit {
		err = fmt.Errorf("read /%s: %w: it exceeds the limit of %d bytes", name, regular.ErrTooLarge, maxUnit)
	}
	return data, errors.Join(err, in.Close())
}

// touchesEngine reports whether recipe or scripts change how dockerd starts.
func (m merged) touchesEngine() bool {
	for _, f := range m.overlay {
		if f.Path == "etc/default/docker" || strings.Contains(f.Path, "/"+dockerUnit) {
			return true
		}
	}
	list, err := fs.Glob(os.DirFS(m.root), path.Join(unitDir, dockerUnit+"*")) // root may have brackets in it
	return err == nil && len(list) > 0
}

const shorten = "shorten the unit, its drop-ins or its EnvironmentFile, which the recipe's files and scripts bring"

// engine returns the command line that docker.service starts, with its
// drop-ins. It is empty where that is not dockerd.
func (m merged) engine() ([]string, error) {
	text, err := m.read(path.Join(unitDir, dockerUnit))
	if err != nil && !errors.Is(err, regular.ErrTooLarge) {
		text, err = m.read(path.Join(vendorUnits, dockerUnit))
	}
	if errors.Is(err, regular.ErrTooLarge) {
		return nil, fault.WrapHint(fault.Invalid, fmt.Errorf("%s: %w", dockerUnit, err), shorten)
	}
	if err != nil {
		return nil, nil //nolint:nilerr // an image without the unit starts no engine
	}
	unit, size := image.ParseUnit(string(text)), len(text)
	wrong := unit.Err
	if wrong != nil {
		wrong = fmt.Errorf("read %s: %w", dockerUnit, wrong)
	}
	for _, name := range m.dropIns() {
		data, err := m.read(name)
		if err != nil {
			return nil, fault.WrapHint(fault.Invalid, fmt.Errorf("read /%s: %w", name, err), shorten)
		}
		if size += len(data); size > maxUnits {
			return nil, fault.WrapHint(fault.Invalid, fmt.Errorf("%s and its drop-ins, up to /%s, exceed the limit of %d bytes", dockerUnit, name, maxUnits), shorten)
		}
		if unit.Add(string(data)); unit.Err != nil && wrong == nil {
			wrong = fmt.Errorf("read /%s: %w", name, unit.Err)
		}
	}
	if wrong != nil {
		return nil, fault.WrapHint(fault.Invalid, wrong, "want sections in brackets, each alone on a line, and lines of KEY=VALUE below them")
	}
	var tooLarge error
	commands, err := unit.Commands(func(name string) string {
		data, err := m.read(strings.TrimPrefix(name, "/"))
		if errors.Is(err, regular.ErrTooLarge) {
			tooLarge = fmt.Errorf("variables of %s: %w", dockerUnit, err)
		}
		return string(data) // "" of what is optional, or the unit's own fault
	}, "ExecStart")
	if err != nil {
		err = fmt.Errorf("%s %w", dockerUnit, err)
	}
	if err := cmp.Or(tooLarge, err); err != nil {
		return nil, fault.WrapHint(fault.Invalid, err, shorten)
	}
	if len(commands) == 0 || path.Base(commands[len(commands)-1].Argv[0]) != "dockerd" {
		return nil, nil
	}
	return commands[len(commands)-1].Argv, nil
}

// dropIns lists the drop-ins of docker.service in the order in which they apply.
func (m merged) dropIns() []string {
	byName := map[string]string{}
	for _, dir := range []string{vendorUnits, unitDir} { // the later one wins
		dir = path.Join(dir, dockerUnit+".d")
		list, _ := fs.Glob(os.DirFS(m.root), path.Join(dir, "*.conf")) // the pattern is well formed
		for _, name := range list {
			byName[path.Base(name)] = name
		}
		for _, f := range m.overlay {
			if path.Dir(f.Path) == dir && path.Ext(f.Path) == ".conf" {
				byName[path.Base(f.Path)] = f.Path
			}
		}
	}
	var names []string
	for name := range byName {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		names[i] = byName[name]
	}
	return names
}
