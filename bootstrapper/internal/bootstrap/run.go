package bootstrap

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/felhom/felhom-golden/bootstrapper/internal/engineunit"
	"github.com/felhom/felhom-golden/bootstrapper/internal/settings"
	"github.com/felhom/felhom-golden/internal/containerspec"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver/docker"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/localapi"
	"github.com/felhom/felhom-golden/internal/pin"
)

// Where things are in a guest. All are below Options.Root.
const (
	MountDir     = containerspec.MountDir
	SettingsDir  = containerspec.SettingsDir
	TemplateFile = "/etc/felhom/controller.yaml.tmpl"
	SpecFile     = "/etc/felhom/controller-container.yaml"
	CertsDir     = "/etc/docker/certs.d"
	EngineSocket = "/run/docker.sock"
)

// TemplateName is the name of a template in the mount.
const TemplateName = "controller.yaml.tmpl"

// ContainerName is the controller's name in the engine.
const ContainerName = "felhom-controller"

// Engine is all that the steps need of Docker. *docker.Client implements it.
type Engine interface {
	connector
	imageStore
	inspector
	imageRemover
	imageRooter
	// ReachesDirectly reports whether the engine reaches a registry as a probe does.
	ReachesDirectly(ctx context.Context, host string) bool
}

// Options configure [Run]. Zero durations mean the defaults.
type Options struct {
	Root         string        // directory that every path is under; "" is "/"
	Mount        string        // the config mount; "" is Root + MountDir
	Socket       string        // path of the engine's socket, for the controller's own use
	NetworkWait  time.Duration // how long a guest that just boots may be without a network
	EngineWait   time.Duration
	PullPatience time.Duration // how long a pull may go without any progress
	// EngineUnit returns the state of the engine's unit. It may be nil.
	EngineUnit func(context.Context) (engineunit.State, error)
	ReadyWait  time.Duration // 0: what the contract sets, or what the image needs
	// Stale is closed when the input of the run has changed: between two tries
	// of a pull, the run then ends to make room for the next one. It may be
	// nil.
	Stale <-chan struct{}
	// Connected is called with the client of the local API as soon as the
	// contract is read, so that reports can begin. It may be nil.
	Connected func(*localapi.Client)
}

// at returns path below root.
func at(root, path string) string { return filepath.Join("/", root, path) }

// Outcomes is what a run did.
type Outcomes struct {
	Steps     []StepResult // in the order they ended; a step that was not reached is missing
	Image     string       // reference
	ImageID   string
	Container string // ID
	// Unready reports that Container was left running and has not become ready in
	// time. It may do so later; see Recovered.
	Unready bool
	// Kept is the image of the controller that was ready before, and is ready now
	// although the run failed; "" if none is.
	Kept string
}

// Run runs the steps in their order. The error is that of the step that failed,
// with its kind and a hint, and without the contract's secrets.
func Run(ctx context.Context, o Options, engine Engine, obs Observer) (Outcomes, error) {
	r := &runner{obs: obs, scrub: func(s string) string { return s }}
	o = withDefaults(o)
	// Before the mount is read: a change meanwhile is then another input.
	r.input, r.memory = inputOf(o), recall(at(o.Root, MemoryFile))
	err := r.run(ctx, o, engine)
	r.after(ctx, engine, err)
	return r.out, err
}

func withDefaults(o Options) Options {
	if o.NetworkWait == 0 {
		o.NetworkWait = 30 * time.Second
	}
	if o.EngineWait == 0 {
		o.EngineWait = 90 * time.Second
	}
	if o.PullPatience == 0 {
		o.PullPatience = 5 * time.Minute
	}
	if o.Mount == "" {
		o.Mount = at(o.Root, MountDir)
	}
	if o.Socket == "" {
		o.Socket = at(o.Root, EngineSocket)
	}
	return o
}

type runner struct {
	obs   Observer
	scrub func(string) string
	out   Outcomes

	input  string // digest of what the run is made from
	memory memory
	good   *goodSettings // nil: the controller has no settings, or the contract is not read
}

// step runs one step between Started and Ended.
func (r *runner) step(name contract.Step, work func(note func(string)) (outcome, error)) error {
	began := time.Now()
	r.obs.Started(name)
	out, err := work(func(text string) { r.obs.Note(name, r.scrub(text)) })
	return r.end(name, began, out, err)
}

func (r *runner) end(name contract.Step, began time.Time, out outcome, err error) error {
	result := StepResult{
		Step: name, Outcome: out.Outcome, Started: began, Duration: time.Since(began),
		Message: r.scrub(out.Message), Hint: r.scrub(out.Hint),
	}
	if err != nil {
		err = r.clean(err)
		result.Outcome, result.Message, result.Hint, result.Class = Failed, err.Error(), fault.HintOf(err), fault.Of(err)
	}
	r.out.Steps = append(r.out.Steps, result)
	r.obs.Ended(result)
	return err
}

// clean hides secrets in the messages of others. It cuts the chain of errors
// only if it had to hide something.
func (r *runner) clean(err error) error {
	text, hint := err.Error(), fault.HintOf(err)
	if r.scrub(text) == text && r.scrub(hint) == hint {
		return err
	}
	return fault.WrapHint(fault.Of(err), errors.New(r.scrub(text)), r.scrub(hint))
}

func (r *runner) run(ctx context.Context, o Options, engine Engine) error {
	var b contract.Bootstrap
	if err := r.step(contract.StepMount, func(note func(string)) (outcome, error) {
		var warnings []string
		var err error
		if b, warnings, err = readInput(o.Mount, ConfigFile); err != nil {
			return outcome{}, err
		}
		for _, w := range warnings {
			note("warning: " + w)
		}
		return outcome{Outcome: Unchanged, Message: about(b)}, nil
	}); err != nil {
		return err
	}
	// It is read now, so that its values are hidden from the first message on; its
	// faults are reported when the host can receive them.
	p, planErr := planOf(o, b)
	r.scrub = scrubber(b, append(containerspec.Pairs(environmentOf(b)), p.spec.Environment...))
	if b.Profile != contract.ProfilePlain {
		r.good = &goodSettings{
			file: filepath.Join(at(o.Root, SettingsDir), SettingsFile), copy: at(o.Root, goodSettingsFile), values: valuesOf(b), memory: &r.memory,
		}
	}
	host := &localapi.Client{Endpoint: b.LocalAPIEndpoint, Pins: b.LocalAPIPins, Token: b.LocalAPIToken}
	defer host.Close()
	if o.Connected != nil {
		o.Connected(host)
	}
	put, err := r.meet(ctx, b, host, engine, o, planErr)
	if err != nil {
		return err
	}
	return r.bring(ctx, b, p, engine, o, put)
}

// about describes a contract in one line.
func about(b contract.Bootstrap) string {
	text := b.ControllerImage.String()
	if b.HostID != "" {
		text = "host " + b.HostID + ", " + text
	}
	if b.Profile == contract.ProfilePlain {
		text += ", profile plain"
	}
	return text
}

func environmentOf(b contract.Bootstrap) map[string]string {
	if b.Container == nil {
		return nil
	}
	return b.Container.Environment
}

// meet waits for the engine and meanwhile does what needs no engine: it asks the
// host and prepares the settings. Neither side sees the other's data. The
// function that it returns ends the settings step if that had to wait.
func (r *runner) meet(ctx context.Context, b contract.Bootstrap, host Host, engine Engine, o Options, planErr error) (put func() error, err error) {
	type answer struct {
		began time.Time
		out   outcome
		err   error
	}
	engineAnswer := make(chan answer, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	own := func() []nic { return nics(at(o.Root, "/")) }
	r.obs.Started(contract.StepChannel)
	r.obs.Started(contract.StepEngine)
	go func() {
		began := time.Now()
		out, err := engineStep{
			engine: engine, limit: o.EngineWait, stale: o.Stale, unit: o.EngineUnit, nics: own, endpoint: b.LocalAPIEndpoint.HostPort(),
		}.run(ctx, func(text string) { r.obs.Note(contract.StepEngine, r.scrub(text)) })
		engineAnswer <- answer{began, out, err}
	}()
	began := time.Now()
	out, err := channelStep{host: host, endpoint: b.LocalAPIEndpoint.HostPort(), guestID: b.GuestID, networkWait: o.NetworkWait, stale: o.Stale, nics: own}.run(ctx,
		func(text string) { r.obs.Note(contract.StepChannel, r.scrub(text)) })
	if err = r.end(contract.StepChannel, began, out, err); err == nil && planErr != nil {
		// This is reported as soon as the host can receive it: nothing is pulled for a container that
		// cannot be created.
		err = r.step(contract.StepContainer, func(func(string)) (outcome, error) { return outcome{}, planErr })
	}
	if err == nil {
		put, err = r.settings(b, o)
	}
	if err != nil {
		cancel()
		if got := <-engineAnswer; !errors.Is(got.err, context.Canceled) {
			_ = r.end(contract.StepEngine, got.began, got.out, got.err) // the run ends by the other's error
		}
		return nil, err
	}
	got := <-engineAnswer
	return put, r.end(contract.StepEngine, got.began, got.out, got.err)
}

// settings renders controller.yaml, and writes it at once if that takes nothing
// from a controller that runs with the previous one. Otherwise put writes it later.
// The profile plain has no such file and no such step.
func (r *runner) settings(b contract.Bootstrap, o Options) (put func() error, err error) {
	if b.Profile == contract.ProfilePlain {
		return func() error { return nil }, nil
	}
	began := time.Now()
	now, err := settingsOf(o, b).render()
	if err == nil && now.replaces() {
		return func() error {
			return r.step(contract.StepSettings, func(func(string)) (outcome, error) {
				if r.memory.Container != "" && r.memory.Settings == "" { // of a version that did not keep them
					if err := r.good.keep(); err != nil {
						return outcome{}, err
					}
				}
				return now.write()
			})
		}, nil
	}
	r.obs.Started(contract.StepSettings)
	var out outcome
	if err == nil {
		out, err = now.write()
	}
	return func() error {
		if !now.replaces() {
			return nil
		}
		// Meanwhile those of before were put back, for the controller that runs during a pull.
		return r.step(contract.StepSettings, func(func(string)) (outcome, error) { return now.write() })
	}, r.end(contract.StepSettings, began, out, err)
}

func settingsOf(o Options, b contract.Bootstrap) settingsStep {
	return settingsStep{
		templates: []string{filepath.Join(o.Mount, TemplateName), at(o.Root, TemplateFile)},
		dir:       at(o.Root, SettingsDir), values: valuesOf(b),
	}
}

// bring converges image, settings and container.
func (r *runner) bring(ctx context.Context, b contract.Bootstrap, p plan, engine Engine, o Options, put func() error) error {
	if why := r.memory.refuses(r.input); why != nil {
		isThere, err := r.stay(ctx, keeper{engine, &r.memory, r.good}, why, cmp.Or(o.ReadyWait, b.ReadyWait, leastReadyWait), o.Stale)
		if isThere {
			return err
		}
	}
	var img image
	if err := r.step(contract.StepImage, func(note func(string)) (outcome, error) {
		s := imageStep{
			store: spaced{engine, freeBelow(sync.OnceValue(func() string { return imageRoot(ctx, engine, o.Root) })), func(ctx context.Context) error { return r.memory.makeRoom(ctx, engine) }},
			ref:   b.ControllerImage, manifest: b.ManifestDigest, config: b.ConfigDigest, mirror: b.RegistryMirror,
			beforePull: func(note func(string)) { r.beforePull(ctx, engine, note) },
			credential: credentialFor(b), proxy: proxiedFrom(b, o), preload: at(o.Root, contract.PreloadDir), arch: runtime.GOARCH, patience: o.PullPatience, stale: o.Stale,
			probe: func(ctx context.Context, host string) docker.Probe {
				if b.RegistryProxy || !engine.ReachesDirectly(ctx, host) {
					return docker.Probe{}
				}
				return docker.ProbeRegistry(ctx, at(o.Root, CertsDir), host)
			},
		}
		var out outcome
		var err error
		img, out, err = s.run(ctx, note, func(done, total int64) { r.obs.Bytes(contract.StepImage, done, total) })
		return out, err
	}); err != nil {
		return err
	}
	r.out.Image, r.out.ImageID = b.ControllerImage.String(), img.ID

	if err := put(); err != nil {
		return err
	}
	settingsPath := ""
	if b.Profile != contract.ProfilePlain {
		settingsPath = filepath.Join(at(o.Root, SettingsDir), SettingsFile)
	}
	refuse := func(why error) error {
		return r.memory.refuse(r.input, img, r.scrub(why.Error()), r.scrub(fault.HintOf(why)))
	}
	var now running
	if err := r.step(contract.StepContainer, func(note func(string)) (outcome, error) {
		var out outcome
		var err error
		now, out, err = containerStep{engine: engine, plan: p, image: img, settings: settingsPath, good: r.memory.Container, refuse: refuse, kept: r.good}.run(ctx, note)
		return out, err
	}); err != nil {
		return err
	}
	r.out.Container = now.container.ID

	limit := cmp.Or(o.ReadyWait, b.ReadyWait, readyLimit(img.Health))
	err := r.step(contract.StepReady, func(note func(string)) (outcome, error) {
		return readyStep{
			engine: engine, name: ContainerName, now: now, limit: limit, scrub: r.scrub, address: ownAddress(ctx, b.LocalAPIEndpoint), stale: o.Stale,
			proven: func() error { return errors.Join(r.memory.proven(now.container.ID, img), r.good.keep()) }, refuse: refuse, kept: r.good,
		}.run(ctx, note)
	})
	r.out.Unready = err != nil && now.previous == "" && !now.isTrial && ctx.Err() == nil
	return err
}

// credentialFor returns the registry credential if it belongs to the place that
// is pulled from: a mirror does not get that of the original registry.
func credentialFor(b contract.Bootstrap) docker.Credential {
	host := b.ControllerImage.Host()
	if b.RegistryMirror != "" {
		host = b.RegistryMirror
	}
	if b.Registry == nil || !strings.EqualFold(b.Registry.Host, host) {
		return docker.Credential{}
	}
	return docker.Credential{Username: b.Registry.Username, Password: b.Registry.Token.Reveal()}
}

func valuesOf(b contract.Bootstrap) settings.Values {
	v := settings.Values{
		HubURL: b.HubURL, HostID: b.HostID, GuestID: b.GuestID, Endpoint: b.LocalAPIEndpoint.URL(),
		Token: b.LocalAPIToken.Reveal(), PinnedPubkey: b.LocalAPIPins.Curl(), Image: b.ControllerImage.String(),
	}
	for _, p := range b.LocalAPIPins {
		if p.Form() == pin.SPKI {
			v.PinsSPKI = append(v.PinsSPKI, p.String())
		} else {
			v.PinsLeaf = append(v.PinsLeaf, p.String())
		}
	}
	return v
}
