package docker

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	"github.com/docker/go-connections/nat"
)

// Image is an image in the engine's store.
type Image struct {
	ID           string   // "sha256:…": the config's digest in the older store, the manifest's in containerd's
	Manifests    []string // digests of its manifests; empty after a load into the older store
	Containerd   bool     // ID is a manifest digest
	Architecture string   // Go's names: "amd64"
	OS           string   // "linux"
	Size         int64    // bytes, as the engine counts them
	Health       *Health  // the image's own health test; nil if it has none
	Ports        []string // the exposed ports, "9001/tcp", sorted by number; text of the image
}

// Health is when a health test runs. Zero fields are the engine's defaults.
type Health struct {
	Interval, StartPeriod, StartInterval time.Duration
	Retries                              int
}

// Image returns the image of that reference or ID; ErrNotFound if none exists.
func (c *Client) Image(ctx context.Context, ref string) (Image, error) {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	got, err := c.api().ImageInspect(ctx, ref)
	if err != nil {
		if isNotFound(err) {
			return Image{}, fmt.Errorf("image %s: %w", ref, ErrNotFound)
		}
		return Image{}, c.fault("inspect image "+ref, err, imageNames(ref))
	}
	img := Image{ID: got.ID, Architecture: got.Architecture, OS: got.Os, Size: got.Size}
	for _, name := range got.RepoDigests {
		if _, digest, ok := strings.Cut(name, "@"); ok {
			img.Manifests = append(img.Manifests, digest)
			// The graph-driver store can never have a config whose digest is
			// also that of its manifest, so this distinguishes the two stores.
			img.Containerd = img.Containerd || digest == got.ID
		}
	}
	if got.Descriptor != nil { // set by the containerd store only, API 1.48
		img.Containerd = true
	}
	if got.Config != nil {
		for port := range got.Config.ExposedPorts {
			img.Ports = append(img.Ports, port)
		}
		slices.SortFunc(img.Ports, func(a, b string) int {
			return cmp.Or(cmp.Compare(nat.Port(a).Int(), nat.Port(b).Int()), cmp.Compare(a, b))
		})
	}
	if got.Config != nil && got.Config.Healthcheck != nil {
		if h := got.Config.Healthcheck; len(h.Test) > 0 && h.Test[0] != "NONE" {
			img.Health = &Health{Interval: h.Interval, StartPeriod: h.StartPeriod, StartInterval: h.StartInterval, Retries: h.Retries}
		}
	}
	return img, nil
}

// Credential is a registry login for one pull. The zero Credential is for a pull without a login.
type Credential struct {
	Username, Password string
}

func (cr Credential) encode() (string, error) {
	if cr == (Credential{}) {
		return "", nil
	}
	data, err := json.Marshal(map[string]string{"username": cr.Username, "password": cr.Password})
	if err != nil {
		return "", fmt.Errorf("encode the registry credential: %w", err)
	}
	return base64.URLEncoding.EncodeToString(data), nil
}

// Pull downloads the image of ref. The credential is only in the request.
// report, which may be nil, gets the summed byte counters each time they move.
// Errors are *FaultError, or wrap the context's error; nothing is retried.
//
// Pull ends a pull that moves no bytes for StallLimit, and has no other limit:
// engines before 29 begin a layer again whose pull was ended. No engine has such
// a limit itself, and neither silence nor messages prove anything (the 29 line
// repeats the same counters without end).
func (c *Client) Pull(ctx context.Context, ref string, credential Credential, report func(Progress)) (err error) {
	op := "pull " + ref
	auth, err := credential.encode()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := newStallWatch(c.stall, c.received, func(silence time.Duration) {
		cancel(&FaultError{Op: op, Kind: Stalled, Err: fmt.Errorf("no byte arrived for %s", silence.Round(time.Second))})
	})
	defer watch.stop()

	body, err := c.api().ImagePull(ctx, ref, image.PullOptions{RegistryAuth: auth})
	if err != nil {
		return c.pullFault(ctx, ref, err)
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	if err := readStream(body, func(p Progress) {
		watch.progress(p)
		if report != nil {
			report(p)
		}
	}); err != nil {
		return c.pullFault(ctx, ref, err)
	}
	return nil
}

func (c *Client) pullFault(ctx context.Context, ref string, err error) error {
	op := "pull " + ref
	if cause, ok := errors.AsType[*FaultError](context.Cause(ctx)); ok {
		return cause
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", op, ctx.Err())
	}
	kind := c.kind(err, imageNames(ref))
	if kind == NotFoundHere { // of a pull: the registry has no such image
		kind = UnknownImage
	}
	return &FaultError{Op: op, Kind: kind, Err: &textError{text: text(err), cause: err}}
}

// maxLoaded bounds the names that Load collects.
const maxLoaded = 1000

// Load loads the images of the archive at path into the store. It returns the
// engine's names for them, in Docker's short form, or the ID of an image
// without a name.
//
// Load ends a load of which the engine takes nothing and reports nothing for the
// time of loadLimit, and has no other limit.
func (c *Client) Load(ctx context.Context, path string) (names []string, err error) {
	const op = "load image archive"
	archive, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	defer func() { err = errors.Join(err, archive.Close()) }()
	info, err := archive.Stat()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	noNetwork := func() (int64, error) { return 0, nil }
	watch := newStallWatch(c.loadLimit(info.Size()), noNetwork, func(silence time.Duration) {
		cancel(&FaultError{Op: op, Kind: Timeout, Err: fmt.Errorf("the engine took nothing and reported nothing for %s", silence.Round(time.Second))})
	})
	defer watch.stop()
	failed := func(err error) error {
		if cause, ok := errors.AsType[*FaultError](context.Cause(ctx)); ok {
			return cause
		}
		return c.fault(op, err)
	}
	// Not quiet: the older store then reports each piece of a layer that it unpacks.
	resp, err := c.api().ImageLoad(ctx, watchedReader{archive, watch}, client.ImageLoadWithQuiet(false))
	if err != nil {
		return nil, failed(err)
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	said := func(text string) {
		watch.moved()
		for _, prefix := range []string{"Loaded image ID: ", "Loaded image: "} {
			if name, ok := strings.CutPrefix(strings.TrimSpace(text), prefix); ok && len(names) < maxLoaded {
				names = append(names, name)
				return
			}
		}
	}
	if err := readMessages(resp.Body, func(Progress) { watch.moved() }, said); err != nil {
		return nil, failed(err)
	}
	return names, nil
}

// loadRate is what the slowest disk unpacks of an archive, in bytes a second.
const loadRate = 1 << 20

// loadLimit returns how long a load of an archive of that size may move nothing:
// containerd's store unpacks a whole image without a word.
func (c *Client) loadLimit(size int64) time.Duration {
	return silenceLimits*c.stall + time.Duration(size/loadRate)*time.Second
}

// watchedReader reads an archive for the engine. It has no Close: the HTTP client
// would call it.
type watchedReader struct {
	archive io.Reader
	watch   *stallWatch
}

// Read implements [io.Reader].
func (r watchedReader) Read(p []byte) (int, error) {
	n, err := r.archive.Read(p)
	if n > 0 {
		r.watch.moved()
	}
	return n, err
}

// Tag gives the image source, a reference or ID, the name target as well.
func (c *Client) Tag(ctx context.Context, source, target string) error {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	return c.fault("tag "+target, c.api().ImageTag(ctx, source, target), imageNames(source), imageNames(target))
}

// RemoveImage removes the image of that ID with the names of ref's repository and
// tag, also those under another registry. One that has other names keeps those,
// and one that a container uses stays, which is an error. Nothing is forced.
// ErrNotFound if there is no such image.
func (c *Client) RemoveImage(ctx context.Context, id, ref string) error {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	got, err := c.api().ImageInspect(ctx, id)
	if isNotFound(err) {
		return fmt.Errorf("image %s: %w", short(id), ErrNotFound)
	}
	if err != nil {
		return c.fault("inspect image "+id, err, imageNames(ref))
	}
	op := "remove image " + ref
	if len(got.RepoTags) == 0 {
		_, err := c.api().ImageRemove(ctx, id, image.RemoveOptions{PruneChildren: true})
		return c.fault(op, err, imageNames(ref))
	}
	for _, name := range got.RepoTags {
		if withoutHost(name) != withoutHost(ref) {
			continue
		}
		if _, err := c.api().ImageRemove(ctx, name, image.RemoveOptions{PruneChildren: true}); err != nil {
			return c.fault(op, err, imageNames(name))
		}
	}
	return nil
}

// withoutHost returns a reference without registry and digest. Engines shorten the
// names of docker.io: "docker.io/library/app:1" is "app:1" to them, and
// "docker.io/team/app:1" is "team/app:1".
func withoutHost(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	host, path, hasSlash := strings.Cut(ref, "/")
	switch {
	case !hasSlash:
		return "library/" + ref
	case strings.ContainsAny(host, ".:") || host == "localhost":
		return path
	}
	return ref
}
