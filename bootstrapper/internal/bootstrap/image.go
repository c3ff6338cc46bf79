package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver/docker"
	"github.com/felhom/felhom-golden/internal/exit"
)

// imageStore is the engine as the image step needs it.
type imageStore interface {
	Image(ctx context.Context, ref string) (docker.Image, error)
	Pull(ctx context.Context, ref string, credential docker.Credential, report func(docker.Progress)) error
	Load(ctx context.Context, path string) error
	Tag(ctx context.Context, source, target string) error
}

// imageStep brings the image: present, preloaded or pulled. It alone gets the
// registry credential.
type imageStep struct {
	store      imageStore
	ref        contract.ImageRef
	manifest   contract.Digest // zero: not pinned
	config     contract.Digest // zero: not pinned
	mirror     string          // host[:port] to pull from; "": the image's own
	credential docker.Credential
	preload    string // folder of preloaded images
	arch       string // GOARCH
	patience   time.Duration
	stale      <-chan struct{} // closed: the next try shall be another run's, with the new input
	probe      func(ctx context.Context, host string) docker.Probe
}

// image is what the step hands on: an ID that cannot move, and the name to show.
type image struct {
	ID     string
	Ref    string // resolves to ID now; the ID itself where no name does
	Health *docker.Health
}

func (s imageStep) run(ctx context.Context, obs func(text string), bytes func(done, total int64)) (image, outcome, error) {
	found, err := s.store.Image(ctx, s.ref.String())
	if err == nil {
		if wrong := s.mismatch(found); wrong == nil {
			img, err := s.take(found, s.ref.String())
			return img, outcome{Outcome: Unchanged, Message: "present"}, err
		}
	} else if !errors.Is(err, docker.ErrNotFound) {
		return image{}, outcome{}, classed(err)
	}
	present := err == nil

	img, from, err := s.loadPreloaded(ctx, obs)
	if err != nil {
		obs(fmt.Sprintf("the preloaded image is not used: %v", err))
	} else if from != "" {
		return img, outcome{Outcome: Changed, Message: "loaded " + from}, nil
	}

	if err := s.pull(ctx, obs, bytes); err != nil {
		return image{}, outcome{}, err
	}
	found, err = s.store.Image(ctx, s.ref.String())
	if err != nil {
		return image{}, outcome{}, classed(err)
	}
	if err := s.mismatch(found); err != nil {
		return image{}, outcome{}, exit.WithHint(exit.Verification, err,
			"the registry gives another image than the host expects: compare the digests of controller_image in bootstrap.json with the registry's; nothing was started")
	}
	img, err = s.take(found, s.ref.String())
	result := outcome{Outcome: Changed, Message: "pulled"}
	if present {
		result = outcome{Outcome: Repaired, Message: "the image that was there had another digest; pulled"}
	}
	return img, result, err
}

// take checks what would otherwise fail after the start only.
func (s imageStep) take(found docker.Image, ref string) (image, error) {
	if found.OS != "linux" || found.Architecture != s.arch {
		return image{}, exit.WithHint(exit.Refused,
			fmt.Errorf("image %s is for %s/%s, this guest is linux/%s", s.ref, found.OS, found.Architecture, s.arch),
			meaning(docker.WrongPlatform).hint)
	}
	return image{ID: found.ID, Ref: ref, Health: found.Health}, nil
}

// mismatch compares an image with the digests that are expected. The older
// store knows an image by the digest of its config, containerd's by that of its
// manifest; each pin is checked where it can be, and one that holds settles it.
func (s imageStep) mismatch(found docker.Image) error {
	manifest := s.manifest
	if manifest.IsZero() {
		manifest = s.ref.Digest()
	}
	known := found.Manifests
	if found.Containerd {
		known = append(slices.Clone(known), found.ID)
	}
	switch {
	case !found.Containerd && !s.config.IsZero():
		if found.ID != s.config.String() {
			return fmt.Errorf("image %s: wanted config digest %s, found %s", s.ref, s.config, found.ID)
		}
	case !manifest.IsZero():
		if !slices.Contains(known, manifest.String()) {
			have := strings.Join(known, ", ")
			if have == "" {
				have = "none (it was loaded, not pulled)"
			}
			return fmt.Errorf("image %s: wanted manifest digest %s, found %s", s.ref, manifest, have)
		}
	case !s.config.IsZero():
		return fmt.Errorf("image %s: wanted config digest %s, but this engine's image store names images by manifest digest: %s",
			s.ref, s.config, "set controller_image_manifest_digest as well")
	}
	return nil
}

// loadPreloaded loads the image from the golden, where it is there and right.
// Nothing preloaded is not an error: from is "" then.
func (s imageStep) loadPreloaded(ctx context.Context, note func(string)) (_ image, from string, _ error) {
	data, err := readSmall(filepath.Join(s.preload, contract.PreloadIndex))
	if errors.Is(err, fs.ErrNotExist) {
		return image{}, "", nil
	}
	if err != nil {
		return image{}, "", err
	}
	index, err := contract.ParsePreload(data)
	if err != nil {
		return image{}, "", fmt.Errorf("%s: %w", filepath.Join(s.preload, contract.PreloadIndex), err)
	}
	entry, ok := index.Find(s.ref)
	if !ok {
		return image{}, "", nil
	}
	manifest := s.manifest
	if manifest.IsZero() {
		manifest = s.ref.Digest()
	}
	if !s.config.IsZero() && entry.ConfigDigest != s.config {
		return image{}, "", fmt.Errorf("%s: wanted config digest %s, preloaded is %s", entry.File, s.config, entry.ConfigDigest)
	}
	if !manifest.IsZero() && entry.ManifestDigest != manifest {
		return image{}, "", fmt.Errorf("%s: wanted manifest digest %s, preloaded is %s", entry.File, manifest, entry.ManifestDigest)
	}
	note("loading " + entry.File)
	if err := s.store.Load(ctx, filepath.Join(s.preload, entry.File)); err != nil {
		return image{}, "", err
	}
	// By its ID where the store keeps config digests; a loaded image has no
	// manifest digest there, so a reference by digest would not find it.
	for _, name := range []string{s.ref.String(), entry.ConfigDigest.String()} {
		found, err := s.store.Image(ctx, name)
		if errors.Is(err, docker.ErrNotFound) {
			continue
		}
		if err != nil {
			return image{}, "", err
		}
		if !found.Containerd && found.ID != entry.ConfigDigest.String() {
			return image{}, "", fmt.Errorf("%s: wanted config digest %s, loaded %s", entry.File, entry.ConfigDigest, found.ID)
		}
		img, err := s.take(found, name)
		return img, entry.File, err
	}
	return image{}, "", fmt.Errorf("%s: after the load the engine has no image %s", entry.File, s.ref)
}

// pull pulls until it succeeds, a fault is permanent, or nothing moved for the
// step's patience. The clock is set back by each byte: a slow link converges.
func (s imageStep) pull(ctx context.Context, note func(string), bytes func(done, total int64)) error {
	source := s.ref
	if s.mirror != "" {
		mirrored, err := s.ref.WithHost(s.mirror)
		if err != nil {
			return exit.With(exit.Refused, fmt.Errorf("registry_mirror: %w", err))
		}
		source = mirrored
	}
	note("pulling " + source.String())
	pause := backoff{first: time.Second, most: 30 * time.Second}
	last, few := time.Now(), 0
	for {
		err := s.store.Pull(ctx, source.String(), s.credential, func(p docker.Progress) {
			last = time.Now()
			bytes(p.Done, p.Total)
		})
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
	if source != s.ref {
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

// judge asks the registry itself when the engine's words do not tell enough,
// and for how long it wants to be left alone: engines drop Retry-After.
func (s imageStep) judge(ctx context.Context, host string, err error) (*docker.FaultError, time.Duration) {
	fault, ok := errors.AsType[*docker.FaultError](err)
	if !ok {
		fault = &docker.FaultError{Op: "pull", Kind: docker.Unknown, Err: err}
	}
	if s.probe == nil || fault.Kind != docker.Unknown && fault.Kind != docker.RateLimited {
		return fault, 0
	}
	probe := s.probe(ctx, host)
	if fault.Kind == docker.Unknown && probe.Kind != "" {
		fault = &docker.FaultError{Op: fault.Op, Kind: probe.Kind, Err: fmt.Errorf("%w (asked directly: %w)", fault.Err, probe.Err)}
	}
	return fault, probe.RetryAfter
}
