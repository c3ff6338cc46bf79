// Package recipe reads golden.yaml. Call [Read], or [Default] for the built-in
// recipe. A Recipe that it returns is valid; everything that is wrong with a
// document is reported in one run, each finding with its line and column.
//
// The package opens the recipe alone. Paths in it are resolved by
// [Recipe.Local]; the package stage opens them. The format is specified in
// docs/golden.md and docs/golden.schema.json.
package recipe

import (
	_ "embed"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/regular"
)

// Version is the version of golden.yaml that this package reads.
const Version = 1

// MaxBytes is the largest golden.yaml that is read. A long recipe has some
// hundred lines.
const MaxBytes = 1 << 20

// Recipe is a valid golden.yaml with every default filled in.
type Recipe struct {
	Version    int        `yaml:"version"`
	Name       string     `yaml:"name"`   // in the notes and the provenance
	Suite      string     `yaml:"suite"`  // Debian code name: trixie or bookworm
	Arch       string     `yaml:"arch"`   // Debian architecture: amd64 or arm64
	Engine     string     `yaml:"engine"` // what installs the packages: one of Engines
	Apt        Apt        `yaml:"apt"`
	Packages   Packages   `yaml:"packages"`
	Files      []File     `yaml:"files"`
	Scripts    []Script   `yaml:"scripts"`
	Units      Units      `yaml:"units"`
	Docker     Docker     `yaml:"docker"`
	Controller Controller `yaml:"controller"`
	Preload    []Preload  `yaml:"preload"`
	Guest      Guest      `yaml:"guest"`
	Seal       Seal       `yaml:"seal"`
	Allow      Allow      `yaml:"allow"`
	Output     Output     `yaml:"output"`

	// Dir is the directory of the recipe: relative paths in it start there.
	Dir string `yaml:"-" json:"-"`
}

// Apt says where packages come from, for the build and for the guest.
type Apt struct {
	Mirror         string   `yaml:"mirror"`          // "" is this machine's own; {snapshot} stands for the time
	SecurityMirror string   `yaml:"security_mirror"` // "" is this machine's own, or none beside a given mirror
	Keyring        string   `yaml:"keyring"`         // "" is debian-archive-keyring
	Components     []string `yaml:"components"`
	Security       bool     `yaml:"security"` // take SUITE-updates and SUITE-security too
	Snapshot       string   `yaml:"snapshot"` // RFC 3339 UTC; "" is now
	Sources        []Source `yaml:"sources"`  // beside Debian's, in the build and in the guest
	Guest          []Source `yaml:"guest"`    // replaces Debian's part of the guest's sources
}

// Source is one apt source.
type Source struct {
	Name       string   `yaml:"name"` // file name without .sources
	URI        string   `yaml:"uri"`
	Suites     []string `yaml:"suites"`
	Components []string `yaml:"components"`
	Key        string   `yaml:"key"` // OpenPGP public key on this machine, armoured or not
}

// Packages changes the package set: what is in beside the base set, and what
// must not be in.
type Packages struct {
	Include []string `yaml:"include"`
	Exclude []string `yaml:"exclude"`
}

// File is one thing laid over the root. Exactly one of Source, Content, Link
// and Directory says what it is.
type File struct {
	Path      string `yaml:"path"`      // in the guest, absolute
	Source    string `yaml:"source"`    // file or directory on this machine
	Content   string `yaml:"content"`   // the text itself
	Link      string `yaml:"link"`      // target of a symbolic link
	Directory bool   `yaml:"directory"` // an empty directory
	Mode      string `yaml:"mode"`      // octal; "" is 0644, 0755 for directories, or that of the source's x bit
	UID       int    `yaml:"uid"`
	GID       int    `yaml:"gid"`
}

// Script is run inside the root, after the packages are in and the files laid over.
type Script struct {
	Path    string            `yaml:"path"` // on this machine
	Args    []string          `yaml:"args"`
	Env     map[string]string `yaml:"env"`
	Network bool              `yaml:"network"` // see the machine's network and resolver
}

// Units changes what systemd starts in the guest.
type Units struct {
	Enable  []string `yaml:"enable"`
	Disable []string `yaml:"disable"`
	Mask    []string `yaml:"mask"`
}

// Docker configures the engine in the guest.
type Docker struct {
	Daemon map[string]any `yaml:"daemon"` // daemon.json
}

// Controller is the workload that the guest's first boot starts.
type Controller struct {
	Image     string         `yaml:"image"`     // preloaded when given
	Archive   string         `yaml:"archive"`   // Docker or OCI archive to take Image from; "" is the registry
	Container map[string]any `yaml:"container"` // /etc/felhom/controller-container.yaml; nil is the program's own default
	// Settings is Container, checked.
	Settings contract.Container `yaml:"-"`
}

// Preload is one image that the guest has without pulling.
type Preload struct {
	Image   string `yaml:"image"`   // the reference it has in the guest
	Archive string `yaml:"archive"` // Docker or OCI archive on this machine; "" is the registry
}

// Guest is what pct.conf says.
type Guest struct {
	VMID        int      `yaml:"vmid"`
	Hostname    string   `yaml:"hostname"`
	Cores       int      `yaml:"cores"`  // 0: no limit
	Memory      int      `yaml:"memory"` // MiB
	Swap        int      `yaml:"swap"`   // MiB
	RootFS      string   `yaml:"rootfs"` // size: 8G
	Storage     string   `yaml:"storage"`
	Net0        string   `yaml:"net0"`
	Features    string   `yaml:"features"`
	Tags        []string `yaml:"tags"`
	Description string   `yaml:"description"`
	OnBoot      bool     `yaml:"onboot"`
}

// Seal switches single rules of the seal on or off.
type Seal struct {
	Enable []string `yaml:"enable"`
	Skip   []string `yaml:"skip"`
}

// Allow lists what the verifier would otherwise find fault with.
type Allow struct {
	SetID         []string `yaml:"set_id"`         // paths
	WorldWritable []string `yaml:"world_writable"` // paths
	Capabilities  []string `yaml:"capabilities"`   // paths
	Secrets       []string `yaml:"secrets"`        // paths
	Dangling      []string `yaml:"dangling"`       // paths of links to nothing
	Programs      []string `yaml:"programs"`       // paths of programs that no package owns
}

// Output says how the archive is written.
type Output struct {
	Compression string `yaml:"compression"` // fast or release
	Profile     string `yaml:"profile"`     // pruned or full
}

//go:embed default.yaml
var defaultYAML []byte

// DefaultYAML is the built-in recipe with its comments.
func DefaultYAML() []byte { return append([]byte(nil), defaultYAML...) }

// Default is the built-in recipe.
func Default() (Recipe, error) {
	return parse("built-in recipe", defaultYAML, Recipe{})
}

// Read parses the recipe at path. A document with findings gives
// [*strictyaml.Findings].
func Read(path string) (Recipe, error) {
	data, err := regular.Read(path, MaxBytes)
	switch {
	case errors.Is(err, regular.ErrTooLarge):
		return Recipe{}, fault.Wrap(fault.Invalid, fmt.Errorf("read recipe: %w", err))
	case err != nil:
		return Recipe{}, fault.WrapHint(fault.Invalid, fmt.Errorf("read recipe: %w", err), "felhom-golden build --print-recipe > golden.yaml writes one to start from")
	}
	r, err := Parse(path, data)
	if err != nil {
		return Recipe{}, err
	}
	r.Dir, err = filepath.Abs(filepath.Dir(path))
	return r, err
}

// Local gives the place on this machine of a path in the recipe.
func (r *Recipe) Local(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(r.Dir, path)
}

// SnapshotTime returns Apt.Snapshot as a time; the zero time if it is not set.
func (r *Recipe) SnapshotTime() time.Time {
	t, err := time.Parse(time.RFC3339, r.Apt.Snapshot)
	if err != nil {
		return time.Time{} // Parse has refused every other text
	}
	return t.UTC()
}
