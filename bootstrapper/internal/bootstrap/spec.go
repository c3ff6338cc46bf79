package bootstrap

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/docker/go-units"
	"github.com/hashicorp/go-multierror"
	"go.yaml.in/yaml/v3"

	"github.com/felhom/felhom-golden/bootstrapper/internal/settings"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver/docker"
	"github.com/felhom/felhom-golden/internal/fault"
)

// The container's labels.
const (
	LabelManaged = "org.felhom.bootstrap" // "controller": ours to replace
	LabelSpec    = "org.felhom.bootstrap.spec"
)

// specFile is /etc/felhom/controller-container.yaml: what a golden changes of
// the container. A key that is present replaces the default as a whole.
type specFile struct {
	Ports       []string          `yaml:"ports"`
	Volumes     []string          `yaml:"volumes"`
	Environment map[string]string `yaml:"environment"`
	ExtraHosts  []string          `yaml:"extra_hosts"`
	Memory      string            `yaml:"memory"`
	Network     string            `yaml:"network"`
	Command     []string          `yaml:"command"`
}

// specBuilder gives the container's spec: the defaults, changed by the golden's
// file, changed by the contract's overrides.
type specBuilder struct {
	name      string
	root      string // folder that all host paths are under
	file      string // path of the golden's file
	socket    string // path of the engine's socket
	overrides *contract.Container
}

func defaultSpec() specFile {
	return specFile{
		Ports: []string{"8080:8080", "8081:8081"},
		Volumes: []string{
			"/var/run/docker.sock:/var/run/docker.sock",
			SettingsDir + ":" + SettingsDir,
			MountDir + ":" + MountDir + ":ro",
		},
	}
}

// build reads the file and parses all of it; nothing is asked of the engine.
func (b specBuilder) build() (docker.Spec, error) {
	file, err := b.load()
	if err != nil {
		return docker.Spec{}, fault.WrapHint(fault.Invalid, err, "correct the file; docs/bootstrapper.md lists its keys")
	}
	if o := b.overrides; o != nil {
		override(&file, o)
	}
	spec, err := b.parse(file)
	if err != nil {
		return docker.Spec{}, fault.WrapHint(fault.Invalid, err, "correct "+b.file+" or container in bootstrap.json; the syntax is that of docker run")
	}
	return spec, nil
}

func (b specBuilder) load() (specFile, error) {
	file := defaultSpec()
	data, err := readSmall(b.file)
	if errors.Is(err, fs.ErrNotExist) {
		return file, nil
	}
	if err != nil {
		return file, fmt.Errorf("read container spec: %w", err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return file, fmt.Errorf("%s: %s", b.file, settings.WithoutValues(err))
	}
	return file, nil
}

func override(file *specFile, o *contract.Container) {
	if o.Ports != nil {
		file.Ports = o.Ports
	}
	if o.Volumes != nil {
		file.Volumes = o.Volumes
	}
	if o.Environment != nil {
		file.Environment = o.Environment
	}
	if o.ExtraHosts != nil {
		file.ExtraHosts = o.ExtraHosts
	}
	if o.Memory != "" {
		file.Memory = o.Memory
	}
}

func (b specBuilder) parse(file specFile) (docker.Spec, error) {
	spec := docker.Spec{Name: b.name, Ports: file.Ports, ExtraHosts: file.ExtraHosts, Command: file.Command, Network: file.Network}
	findings := &multierror.Error{ErrorFormat: oneLine}
	if err := docker.CheckPorts(file.Ports); err != nil {
		findings = multierror.Append(findings, err)
	}
	for _, text := range file.Volumes {
		bind, err := docker.PrefixBind(text, b.source)
		if err != nil {
			findings = multierror.Append(findings, err)
		}
		spec.Binds = append(spec.Binds, bind)
	}
	for _, key := range slices.Sorted(maps.Keys(file.Environment)) {
		if key == "" || strings.ContainsAny(key, "=\x00") {
			findings = multierror.Append(findings, fmt.Errorf("environment: %q is no name of a variable", key))
		}
		spec.Environment = append(spec.Environment, key+"="+file.Environment[key])
	}
	for _, text := range file.ExtraHosts {
		if name, address, ok := strings.Cut(text, ":"); !ok || name == "" || address == "" {
			findings = multierror.Append(findings, fmt.Errorf("extra host %q: wanted NAME:ADDRESS", text))
		}
	}
	if file.Memory != "" {
		memory, err := units.RAMInBytes(file.Memory)
		if err == nil && memory < 6<<20 { // the engine's own minimum
			err = errors.New("the least is 6m")
		}
		if err != nil {
			findings = multierror.Append(findings, fmt.Errorf("memory %q: %w", file.Memory, err))
		}
		spec.Memory = memory
	}
	return spec, findings.ErrorOrNil()
}

// oneLine words what is wrong with a spec: all of it, in one line.
func oneLine(findings []error) string {
	texts := make([]string, 0, len(findings))
	for _, f := range findings {
		texts = append(texts, f.Error())
	}
	return strings.Join(texts, "; ")
}

// source gives the host's path of a bind. The socket is wherever the engine is.
func (b specBuilder) source(path string) string {
	if path == "/var/run/docker.sock" || path == "/run/docker.sock" {
		return b.socket
	}
	return filepath.Join(b.root, path)
}

// hash says what a container was made from. The schedule of the health test is
// not part of it: it depends on the engine's version, and an engine's update
// shall not replace the controller.
func hash(spec docker.Spec, imageID string) string {
	spec.Health, spec.Labels, spec.Image = nil, nil, imageID
	data, err := json.Marshal(spec)
	if err != nil { // strings, numbers and slices of them always encode
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
