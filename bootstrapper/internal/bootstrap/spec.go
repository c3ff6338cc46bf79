package bootstrap

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/felhom/felhom-golden/internal/containerspec"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver/docker"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// The container's labels.
const (
	LabelManaged = "org.felhom.bootstrap" // "controller": created by the bootstrapper, which may replace it
	LabelSpec    = "org.felhom.bootstrap.spec"
)

// plan is what the container will be created from, as far as that is known
// without the image.
type plan struct {
	spec docker.Spec // complete but for image, health and the two labels above
	// exposed: the ports that the image exposes are published.
	exposed bool
}

// specBuilder makes the plan from the defaults of the profile, then the golden
// image's file, then the contract's settings.
type specBuilder struct {
	name     string
	root     string // directory that all paths of the guest are under
	file     string // path of the golden image's file
	socket   string // path of the engine's socket
	profile  contract.Profile
	settings *contract.Container
}

// build reads the file and checks everything; it asks nothing of the engine.
func (b specBuilder) build() (plan, error) {
	var problems []string
	golden, fromFile, err := b.load()
	if err != nil {
		return plan{}, fault.WrapHint(fault.Invalid, err, "make it a readable file, or remove it")
	}
	if fromFile != nil {
		problems = strings.Split(fromFile.Error(), "\n")
	}
	inImage := len(problems)
	if b.settings != nil {
		for _, p := range containerspec.Check(*b.settings) {
			problems = append(problems, "bootstrap.json: container."+p.String())
		}
	}
	if len(problems) > 0 {
		return plan{}, fault.WrapHint(fault.Invalid, errors.New(strings.Join(problems, "; ")), hintFor(inImage > 0, len(problems) > inImage))
	}
	defaults := containerspec.Defaults(b.profile)
	return b.plan(containerspec.Merge(&defaults, &golden, b.settings))
}

// hintFor returns what the operator must edit.
func hintFor(inImage, inContract bool) string {
	image := "correct controller.container in the recipe of the golden image (in this guest: " + SpecFile + ")"
	host := "on the host, correct container in agentd.yaml, the spec or the flags, and run felhom-agentd provision again"
	switch {
	case inImage && inContract:
		return image + "; " + host
	case inImage:
		return image
	}
	return host
}

// load returns what the golden image sets, and what is wrong with it.
func (b specBuilder) load() (_ contract.Container, findings, err error) {
	data, err := readSmall(b.file)
	if errors.Is(err, fs.ErrNotExist) {
		return contract.Container{}, nil, nil
	}
	if err != nil {
		return contract.Container{}, nil, fmt.Errorf("read the container's settings: %w", err)
	}
	c, findings := containerspec.Parse(b.file, data)
	return c, findings, nil
}

// plan translates settings that were checked.
func (b specBuilder) plan(c contract.Container) (plan, error) {
	p := plan{
		spec: docker.Spec{
			Name: b.name, Ports: c.Ports, Environment: containerspec.Pairs(c.Environment), ExtraHosts: c.ExtraHosts,
			Command: c.Command, Network: c.Network, Labels: c.Labels,
		},
		exposed: b.profile == contract.ProfilePlain && c.Ports == nil && !containerspec.HidesPorts(c.Network),
	}
	for _, text := range c.Volumes {
		v, err := containerspec.ParseVolume(text)
		if err != nil {
			return plan{}, fault.Wrap(fault.Invalid, err)
		}
		if v.IsBind {
			v.Source = b.source(v.Source)
		}
		p.spec.Binds = append(p.spec.Binds, v.String())
	}
	if c.Memory != "" {
		memory, err := containerspec.Memory(c.Memory)
		if err != nil {
			return plan{}, fault.Wrap(fault.Invalid, err)
		}
		p.spec.Memory = memory
	}
	return p, nil
}

// source returns the guest's path of a bind. The socket is that of the engine in
// use.
func (b specBuilder) source(path string) string {
	if path == containerspec.EngineSocket || path == EngineSocket {
		return b.socket
	}
	return filepath.Join(b.root, path)
}

// maxExposed bounds the ports that are published because the image exposes them.
const maxExposed = 64

// publish returns the exposed ports of an image as they are published, each under
// its own number, or why none is: the image's values can be anything.
func publish(exposed []string) (ports []string, why string) {
	if len(exposed) > maxExposed {
		return nil, fmt.Sprintf("its image exposes %d ports, more than the %d that are published by themselves: set ports", len(exposed), maxExposed)
	}
	for _, port := range exposed {
		number, protocol, _ := strings.Cut(port, "/")
		text := number + ":" + number
		if protocol != "" && protocol != "tcp" {
			text += "/" + protocol
		}
		if _, err := containerspec.Port(text); err != nil || strings.Contains(number, "-") {
			return nil, fmt.Sprintf("its image exposes %s, which is not a port: set ports", termtext.Line(port, 40))
		}
		ports = append(ports, text)
	}
	return ports, ""
}

// hash identifies what a container was created from. The schedule of the health
// test is not part of it: it depends on the engine's version, and an update of
// the engine must not replace the controller.
func hash(spec docker.Spec, imageID string) string {
	spec.Health, spec.Image = nil, imageID
	data, err := json.Marshal(spec)
	if err != nil { // strings, numbers, slices and maps of them always encode
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
