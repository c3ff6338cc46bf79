package stage

import (
	"debug/elf"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/golden/internal/apt"
	"github.com/felhom/felhom-golden/golden/internal/image"
	"github.com/felhom/felhom-golden/golden/internal/overlay"
	"github.com/felhom/felhom-golden/golden/internal/recipe"
	"github.com/felhom/felhom-golden/internal/containerspec"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/regular"
)

// bootstrapUnit starts our program at boot; the path in its ExecStart is where
// the program goes.
const bootstrapUnit = "felhom-controller-bootstrap.service"

// vendorUnits is where our units go: a package's place, so that a guest's
// administrator can lay another over it.
const vendorUnits = "usr/lib/systemd/system"

// maxKey and maxUnit bound what is read of a keyring and of a unit file.
const (
	maxKey  = 1 << 20
	maxUnit = 1 << 20
)

//go:embed felhom-ssh-hostkeys.service
var hostKeysUnit []byte

// hostKeysName makes new SSH host keys in a guest that has none.
const hostKeysName = "felhom-ssh-hostkeys.service"

// debianHostKeysName is the unit of Debian 13's openssh-server for the same. It
// waits for a first boot, and a guest whose machine-id is empty never has one.
const debianHostKeysName = "sshd-keygen.service"

// Own are the parts of the overlay that are not in the recipe.
type Own struct {
	Bootstrap  string         // felhom-controller-bootstrap on this machine
	Units      fs.FS          // unit files for the guest, at the top, and drop-ins in their directories
	Images     []overlay.File // preloaded images with their index
	DpkgConfig string         // for dpkg.cfg.d: what packing leaves out; "" is nothing
}

// Overlay lists everything that is laid over the base root: our program, units
// and settings, the recipe's files where no script has seen them in the base,
// and the closed preset last. The list is sorted and has no path twice; where
// the recipe names one of our files, the recipe's wins.
func (p *Plan) Overlay(root string, own Own) ([]overlay.File, error) {
	list, err := p.ownFiles(root, own)
	if err != nil {
		return nil, err
	}
	if p.scriptsKey == "" {
		files, err := Files(&p.Recipe)
		if err != nil {
			return nil, err
		}
		list = append(list, files...)
	}
	preset, err := Preset(os.DirFS(root), list)
	if err != nil {
		return nil, err
	}
	list = append([]overlay.File{preset}, list...)
	slices.SortStableFunc(list, func(a, b overlay.File) int { return strings.Compare(a.Path, b.Path) })
	out := list[:0]
	for _, f := range list {
		if n := len(out); n > 0 && out[n-1].Path == f.Path {
			out[n-1] = f // the later one
			continue
		}
		out = append(out, f)
	}
	return out, nil
}

func (p *Plan) ownFiles(root string, own Own) ([]overlay.File, error) {
	list, err := p.guestFiles()
	if err != nil {
		return nil, err
	}
	units, err := p.unitFiles(root, own)
	if err != nil {
		return nil, err
	}
	list = append(list, units...)
	list = append(list, own.Images...)
	dhcp, err := dhcpFiles(root)
	if err != nil {
		return nil, err
	}
	for _, f := range dhcp {
		// With scripts, the recipe's files are in root already.
		if !slices.ContainsFunc(p.Recipe.Files, func(r recipe.File) bool { return r.Path == "/"+f.Path }) {
			list = append(list, f)
		}
	}
	if len(p.Recipe.Docker.Daemon) > 0 {
		data, err := json.MarshalIndent(p.Recipe.Docker.Daemon, "", "  ")
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, fmt.Errorf("docker.daemon in the recipe: %w", err))
		}
		list = append(list, overlay.File{Path: "etc/docker/daemon.json", Mode: 0o644, Data: append(data, '\n')})
	}
	if p.Recipe.Controller.Container != nil {
		// Not Container: its values are of YAML's types, and a date or 0x10 would change.
		data, err := containerspec.Encode(p.Recipe.Controller.Settings)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, fmt.Errorf("controller.container in the recipe: %w", err))
		}
		list = append(list, overlay.File{Path: "etc/felhom/controller-container.yaml", Mode: 0o644, Data: data})
	}
	if own.DpkgConfig != "" {
		list = append(list, overlay.File{Path: "etc/dpkg/dpkg.cfg.d/felhom-golden", Mode: 0o644, Data: []byte(own.DpkgConfig)})
	}
	return list, nil
}

// guestFiles are the guest's apt sources with their keys.
func (p *Plan) guestFiles() ([]overlay.File, error) {
	var list []overlay.File
	for _, g := range p.Guest {
		list = append(list, overlay.File{Path: "etc/apt/sources.list.d/" + g.Name + ".sources", Mode: 0o644, Data: apt.Format(g.List)})
		if g.Key == "" {
			continue
		}
		data, err := regular.Read(g.Key, maxKey)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, fmt.Errorf("read key of source %s: %w", g.Name, err))
		}
		list = append(list, overlay.File{Path: strings.TrimPrefix(g.List[0].SignedBy, "/"), Mode: 0o644, Data: data})
	}
	return list, nil
}

func (p *Plan) unitFiles(root string, own Own) ([]overlay.File, error) {
	var list []overlay.File
	// Where the host mounts its directory; a mount in a running guest needs it there.
	list = append(list, overlay.File{Path: "etc/felhom-bootstrap", Mode: fs.ModeDir | 0o755})
	for _, name := range p.Recipe.Units.Mask {
		list = append(list, overlay.File{Path: path.Join(unitDir, name), Mode: fs.ModeSymlink | 0o777, Link: "/dev/null"})
	}
	add := func(name string, text []byte) {
		list = append(list, overlay.File{Path: path.Join(vendorUnits, name), Mode: 0o644, Data: text})
		list = append(list, enableLinks(vendorUnits, name, text)...)
	}
	if _, err := os.Stat(path.Join(root, "usr/bin/ssh-keygen")); err == nil {
		if _, err := os.Stat(path.Join(root, "usr/sbin/sshd")); err == nil {
			add(hostKeysName, hostKeysUnit)
			list = append(list, overlay.File{Path: path.Join(unitDir, debianHostKeysName), Mode: fs.ModeSymlink | 0o777, Link: "/dev/null"})
		}
	}
	for _, name := range p.Recipe.Units.Enable {
		text, dir, err := readUnit(root, name)
		if err != nil {
			return nil, err
		}
		links := enableLinks(dir, name, text)
		if len(links) == 0 {
			return nil, fault.WrapHint(fault.Invalid, fmt.Errorf("enable %s: the unit has no [Install] section that makes it start", name), "look at units.enable in the recipe")
		}
		list = append(list, links...)
	}
	if own.Units == nil {
		return list, nil
	}
	names, err := unitNames(own.Units)
	if err != nil {
		return nil, fmt.Errorf("read own units: %w", err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(own.Units, name)
		if err != nil {
			return nil, fmt.Errorf("read own units: %w", err)
		}
		add(name, text)
		if name != bootstrapUnit {
			continue
		}
		at := image.ParseUnit(string(text)).Program()
		if at == "" {
			return nil, fmt.Errorf("%s: no program in ExecStart", bootstrapUnit)
		}
		if err := CheckBinary(own.Bootstrap, p.Recipe.Arch); err != nil {
			return nil, err
		}
		list = append(list, overlay.File{Path: strings.TrimPrefix(at, "/"), Mode: 0o755, Source: own.Bootstrap})
	}
	return list, nil
}

// unitNames lists the units of files, and the drop-ins below their directories.
func unitNames(files fs.FS) (names []string, err error) {
	err = fs.WalkDir(files, ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			names = append(names, name)
		}
		return err
	})
	return names, err
}

// readUnit finds a unit of the root; an instance is its template's file.
func readUnit(root, name string) (text []byte, dir string, err error) {
	file := name
	if at := strings.IndexByte(name, '@'); at >= 0 {
		file = name[:at+1] + path.Ext(name)
	}
	for _, dir := range []string{unitDir, vendorUnits} {
		text, err := regular.Read(path.Join(root, dir, file), maxUnit)
		if err == nil {
			return text, dir, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, "", fmt.Errorf("enable %s: %w", name, err)
		}
	}
	return nil, "", fault.WrapHint(fault.Invalid, fmt.Errorf("enable %s: no such unit in the image", name), "look at units.enable and packages.include in the recipe")
}

// CheckBinary says what is wrong with the program at path, which must run in a
// guest of Debian architecture arch without any library.
func CheckBinary(path, arch string) (err error) {
	const hint = "make build puts it beside felhom-golden; --bootstrap names another place"
	file, err := regular.Open(path)
	if err != nil {
		return fault.WrapHint(fault.Invalid, fmt.Errorf("look at felhom-controller-bootstrap: %w", err), hint)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	f, err := elf.NewFile(file)
	if err != nil {
		return fault.WrapHint(fault.Invalid, fmt.Errorf("look at %s: not a program for a guest: %w", path, err), hint)
	}
	want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[arch]
	if f.Machine != want {
		return fault.WrapHint(fault.Invalid, fmt.Errorf("look at %s: want architecture %s (%v), got %v", path, arch, want, f.Machine), hint)
	}
	libs, err := f.ImportedLibraries()
	if err != nil {
		return fault.Wrap(fault.Invalid, fmt.Errorf("look at %s: %w", path, err))
	}
	interp := slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
	if interp || len(libs) > 0 {
		return fault.WrapHint(fault.Invalid, fmt.Errorf("look at %s: want a static program, got one that needs a loader and libraries %v", path, libs), "build it with CGO_ENABLED=0")
	}
	return nil
}
