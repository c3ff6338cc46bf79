package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver/docker"
	"github.com/felhom/felhom-golden/internal/fault"
)

// imageStore is the part of the engine that the image step needs.
type imageStore interface {
	Image(ctx context.Context, ref string) (docker.Image, error)
	Pull(ctx context.Context, ref string, credential docker.Credential, report func(docker.Progress)) error
	Load(ctx context.Context, path string) ([]string, error)
	Tag(ctx context.Context, source, target string) error
	// ReadsHostsFile reports whether the engine goes to registries by hosts.toml.
	ReadsHostsFile(ctx context.Context) (bool, error)
}

// imageStep provides the image: present, preloaded or pulled. It alone gets the
// registry credential.
type imageStep struct {
	store      imageStore
	ref        contract.ImageRef
	manifest   contract.Digest // zero: not pinned
	config     contract.Digest // zero: not pinned
	mirror     string          // host[:port] to pull from; "": the image's own
	credential docker.Credential
	proxy      *proxied // nil: not through the host
	preload    string   // directory of preloaded images
	arch       string   // GOARCH
	patience   time.Duration
	beforePull func(note func(string)) // nil: nothing is to be done
	stale      <-chan struct{}         // closed: the next try must be another run's, with the new input
	probe      func(ctx context.Context, host string) docker.Probe
}

// image is the step's result: an ID that cannot move, and the name to show.
type image struct {
	ID     string
	Ref    string // resolves to ID now; the ID itself if no name does
	Health *docker.Health
	Ports  []string // the ports that it exposes
}

func (s imageStep) run(ctx context.Context, obs func(text string), bytes func(done, total int64)) (image, outcome, error) {
	entry, err := s.preloaded()
	if err != nil {
		obs(fmt.Sprintf("the preloaded image is not used: %v", err))
	}
	var unprepared error // only a pull needs it
	if s.proxy != nil {
		s, unprepared = s.proxy.prepare(ctx, s)
	}
	source, err := s.source()
	if err != nil {
		return image{}, outcome{}, err
	}
	img, wrong, err := s.find(ctx, entry, source)
	if err != nil || img.ID != "" {
		return img, outcome{Outcome: Unchanged, Message: "present"}, err
	}
	if entry.File != "" {
		img, err := s.load(ctx, entry, obs)
		if err == nil {
			return img, outcome{Outcome: Changed, Message: "loaded " + entry.File}, nil
		}
		obs(fmt.Sprintf("the preloaded image is not used: %v", err))
	}
	if errors.Is(wrong, errUncheckable) { // a pull would give the same answer
		return image{}, outcome{}, refused(wrong)
	}
	if unprepared != nil {
		return image{}, outcome{}, unprepared
	}
	if s.beforePull != nil {
		s.beforePull(obs)
	}
	if err := s.pull(ctx, source, obs, bytes); err != nil {
		return image{}, outcome{}, err
	}
	present := wrong != nil
	img, wrong, err = s.find(ctx, contract.PreloadImage{}, source)
	switch {
	case err != nil:
		return image{}, outcome{}, err
	case wrong != nil:
		return image{}, outcome{}, refused(wrong)
	case img.ID == "":
		return image{}, outcome{}, classed(fmt.Errorf("image %s, just pulled: %w", s.ref, docker.ErrNotFound))
	}
	result := outcome{Outcome: Changed, Message: "pulled"}
	if present {
		result = outcome{Outcome: Repaired, Message: "the image that was there had another digest; pulled"}
	}
	return img, result, nil
}

// find returns the image of the store that matches, the zero image if none does.
// wrong then describes the image that has the name but does not match. source is
// the name to pull by.
func (s imageStep) find(ctx context.Context, entry contract.PreloadImage, source contract.ImageRef) (_ image, wrong, _ error) {
	names := []string{s.ref.String()}
	if source != s.ref && !source.Digest().IsZero() { // a tag of the mirror may be an older image's
		names = append(names, source.String())
	}
	if entry.File != "" { // an image that has no tag, or lost it
		names = append(names, entry.ConfigDigest.String(), mark(entry))
	}
	for _, name := range names {
		found, err := s.store.Image(ctx, name)
		if errors.Is(err, docker.ErrNotFound) {
			continue
		}
		if err != nil {
			return image{}, nil, classed(err)
		}
		bad := s.mismatch(found)
		if bad != nil && entry.File != "" {
			fromEntry, err := s.loadedFrom(ctx, entry, found)
			if err != nil {
				return image{}, nil, classed(err)
			}
			if fromEntry {
				bad = nil
			}
		}
		if bad == nil {
			if name == mark(entry) {
				name = found.ID // the mark is not a name to show
			}
			img, err := s.take(found, name)
			return img, nil, err
		}
		if wrong == nil {
			wrong = bad
		}
	}
	return image{}, wrong, nil
}

// errUncheckable marks a pin that this engine's store cannot be asked about.
var errUncheckable = errors.New("this engine's image store names images by manifest digest, so a config digest cannot be checked")

// refused gives the error of an image that does not match the pins its kind and
// hint.
func refused(wrong error) error {
	if errors.Is(wrong, errUncheckable) {
		return fault.WrapHint(fault.Invalid, wrong,
			"set controller_image_manifest_digest as well, or in place of controller_image_config_digest: the digest that the registry shows for the tag; nothing was started")
	}
	return fault.WrapHint(fault.Mismatch, wrong,
		"the registry gives another image than the host expects: compare the digests of controller_image in bootstrap.json with the registry's; nothing was started")
}

// take checks what would otherwise fail only after the start.
func (s imageStep) take(found docker.Image, ref string) (image, error) {
	if found.OS == "" && found.Architecture == "" { // containerd's store takes any artifact
		return image{}, fault.WrapHint(fault.Invalid, fmt.Errorf("image %s has no platform", s.ref), meaning(docker.NotAnImage).hint)
	}
	if found.OS != "linux" || found.Architecture != s.arch {
		return image{}, fault.WrapHint(fault.Invalid,
			fmt.Errorf("image %s is for %s/%s, this guest is linux/%s", s.ref, found.OS, found.Architecture, s.arch),
			meaning(docker.WrongPlatform).hint)
	}
	return image{ID: found.ID, Ref: ref, Health: found.Health, Ports: found.Ports}, nil
}

// mismatch compares an image with the digests that are expected. The older
// store knows an image by the digest of its config, containerd's by that of its
// manifest; each pin is checked if the store allows it, and one that matches is
// enough.
func (s imageStep) mismatch(img docker.Image) error {
	manifest := s.wantManifest()
	known := img.Manifests
	if img.Containerd {
		known = append(slices.Clone(known), img.ID)
	}
	switch {
	case !img.Containerd && !s.config.IsZero():
		if img.ID != s.config.String() {
			return fmt.Errorf("image %s: want config digest %s, got %s", s.ref, s.config, img.ID)
		}
	case !manifest.IsZero():
		if !slices.Contains(known, manifest.String()) {
			have := strings.Join(known, ", ")
			if have == "" {
				have = "none (it was loaded, not pulled)"
			}
			return fmt.Errorf("image %s: want manifest digest %s, got %s", s.ref, manifest, have)
		}
	case !s.config.IsZero():
		return fmt.Errorf("image %s, %s here: config digest %s: %w", s.ref, img.ID, s.config, errUncheckable)
	}
	return nil
}

// wantManifest returns the pinned manifest digest; zero: not pinned.
func (s imageStep) wantManifest() contract.Digest {
	if s.manifest.IsZero() {
		return s.ref.Digest()
	}
	return s.manifest
}

// source returns the name to pull by.
func (s imageStep) source() (contract.ImageRef, error) {
	if s.mirror == "" {
		return s.ref, nil
	}
	mirrored, err := s.ref.WithHost(s.mirror)
	if err != nil {
		return s.ref, fault.Wrap(fault.Invalid, fmt.Errorf("registry_mirror: %w", err))
	}
	return mirrored, nil
}

// pull pulls until it succeeds, a fault is permanent, or nothing arrived for
// the step's patience. Each byte restarts that time, so that a slow link
// succeeds in the end, and a registry that starts each transfer and sends
// nothing does not.
func (s imageStep) pull(ctx context.Context, source contract.ImageRef, note func(string), bytes func(done, total int64)) error {
	note("pulling " + source.String())
	pause := backoff{first: time.Second, most: 30 * time.Second}
	last, few := time.Now(), 0
	for {
		follow := newFollower(bytes)
		err := s.store.Pull(ctx, source.String(), s.credential, follow.report)
		if moved := follow.stop(); moved.After(last) {
			last = moved
		}
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return err
		}
		fault, floor := s.judge(ctx, source.Host(), err)
		switch fault.Kind.Verdict() {
		case docker.Permanent:
			return classed(fault)
		case docker.RetryFew:
			if few++; few >= 3 {
				return classed(fault)
			}
		}
		if time.Since(last)+max(pause.next, pause.first, floor) > s.patience {
			return classed(fault)
		}
		note(fmt.Sprintf("trying again: %v", fault))
		if err := pause.wait(ctx, floor, s.stale); errors.Is(err, errStale) {
			return classed(fault)
		} else if err != nil {
			return err
		}
	}
	if source != s.ref && (s.ref.Tag() != "" || s.ref.Digest().IsZero()) {
		target := s.ref.Name()
		if s.ref.Tag() != "" {
			target += ":" + s.ref.Tag()
		}
		if err := s.store.Tag(ctx, source.String(), target); err != nil {
			return classed(err)
		}
	}
	return nil
}

// judge asks the registry itself if the engine's message is not enough, and how
// long to wait before the next request: engines drop Retry-After.
func (s imageStep) judge(ctx context.Context, host string, err error) (*docker.FaultError, time.Duration) {
	fault, ok := errors.AsType[*docker.FaultError](err)
	if !ok {
		fault = &docker.FaultError{Op: "pull", Kind: docker.Unknown, Err: err}
	}
	var probe docker.Probe
	if s.probe != nil && slices.Contains([]docker.Kind{docker.Unknown, docker.RateLimited, docker.Credential401, docker.Denied}, fault.Kind) {
		probe = s.probe(ctx, host)
	}
	// Engines report a login page that answers 401 or 403 as a wrong
	// credential.
	isPage := (fault.Kind == docker.Credential401 || fault.Kind == docker.Denied) && probe.Kind == docker.NotARegistry
	if isPage || fault.Kind == docker.Unknown && probe.Kind != "" {
		kind := probe.Kind
		if kind.Verdict() == docker.Permanent {
			kind = docker.Unknown // a probe explains, and never makes a fault final
		}
		fault = &docker.FaultError{Op: fault.Op, Kind: kind, Err: fmt.Errorf("%w (asked directly: %w)", fault.Err, probe.Err)}
	}
	// Without a credential, there is none to renew or to give a right.
	if (fault.Kind == docker.Credential401 || fault.Kind == docker.Denied) && s.credential == (docker.Credential{}) && s.proxy == nil {
		fault = &docker.FaultError{Op: fault.Op, Kind: docker.NoCredential, Err: fault.Err}
	}
	return fault, probe.RetryAfter
}
