package registryproxy

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
)

// Image is what a guest may pull: a whole repository, or one image of it.
type Image struct {
	Host       string // of the registry, as in references
	Repository string // path on it
	// Tag and Digest name one image; without them it is the whole repository.
	// With both, the tag means the digest.
	Tag    string
	Digest contract.Digest // of the manifest
	// Config is the digest of the only image configuration that may be pulled;
	// zero: any. It has no meaning for a whole repository.
	Config contract.Digest
}

// ImageOf returns what a reference names, with the digests that are pinned
// beside it. Zero digests are not pinned.
func ImageOf(ref contract.ImageRef, manifest, config contract.Digest) Image {
	if manifest.IsZero() {
		manifest = ref.Digest()
	}
	return Image{Host: ref.Host(), Repository: ref.Path(), Tag: ref.Tag(), Digest: manifest, Config: config}
}

func (i Image) isWhole() bool { return i.Tag == "" && i.Digest.IsZero() }

const (
	// resolveInterval is how long a resolved tag is used.
	resolveInterval = time.Minute
	// formerTime is how long the previous manifest of a tag is still allowed, so
	// that a pull that began before the tag moved can end.
	formerTime   = time.Hour
	maxFormer    = 4
	maxResolved  = 4096
	maxChildren  = 64 // manifests of an index that are read
	manifestsMax = 4 << 20
)

// resolved keeps the manifests that the tags of images mean.
type resolved struct {
	mu    sync.Mutex
	byTag map[string]*meaning // by host, repository and tag
}

type meaning struct {
	mu      sync.Mutex // held while the registry is asked
	digest  contract.Digest
	until   time.Time
	formers []former
	// The registry's last failure, for those who waited while it was asked.
	failed   error
	failedAt time.Time
}

type former struct {
	digest contract.Digest
	until  time.Time
}

func (r *resolved) of(key string) *meaning {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byTag == nil || len(r.byTag) >= maxResolved && r.byTag[key] == nil {
		r.byTag = map[string]*meaning{} // they are learned again
	}
	if r.byTag[key] == nil {
		r.byTag[key] = &meaning{}
	}
	return r.byTag[key]
}

// resolve returns the manifest that the tag means now, and the one that it
// meant until recently.
func (p *Proxy) resolve(ctx context.Context, u *upstream, in *resolved, repository, tag string) (*manifest, []contract.Digest, error) {
	r := in.of(u.registry.Host + "/" + repository + ":" + tag)
	asked := p.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	if r.failed != nil && asked.Before(r.failedAt) {
		return nil, nil, r.failed
	}
	now := p.now()
	var m *manifest
	var err error
	r.failed = nil
	if now.Before(r.until) {
		m, err = p.manifest(ctx, u, repository, r.digest)
	} else if m, err = u.fetchManifest(ctx, repository, tag, contract.Digest{}); err == nil {
		p.keep(u, repository, m)
		if !r.digest.IsZero() && r.digest != m.digest {
			r.formers = append(r.formers, former{r.digest, now.Add(formerTime)})
		}
		r.digest, r.until = m.digest, now.Add(resolveInterval)
	}
	if err != nil {
		if _, isUpstream := errors.AsType[*Error](err); isUpstream {
			r.failed, r.failedAt = err, p.now()
		}
		return nil, nil, err
	}
	r.formers = slices.DeleteFunc(r.formers, func(f former) bool { return !now.Before(f.until) })
	if over := len(r.formers) - maxFormer; over > 0 {
		r.formers = slices.Delete(r.formers, 0, over)
	}
	before := make([]contract.Digest, 0, len(r.formers))
	for _, f := range r.formers {
		before = append(before, f.digest)
	}
	return m, before, nil
}

// manifest returns a manifest by digest, from memory if possible.
func (p *Proxy) manifest(ctx context.Context, u *upstream, repository string, digest contract.Digest) (*manifest, error) {
	if m := p.known.get(manifestKey(u.registry.Host, repository, digest)); m != nil {
		return m, nil
	}
	m, err := u.fetchManifest(ctx, repository, "", digest)
	if err == nil {
		p.keep(u, repository, m)
	}
	return m, err
}

func (p *Proxy) keep(u *upstream, repository string, m *manifest) {
	p.known.put(manifestKey(u.registry.Host, repository, m.digest), m)
}

// errDenied is the error if the guest may not have what it asks for.
var errDenied = errors.New("not allowed")

// roots returns the manifests that an image allows: what its tag means, or its
// digest.
func (p *Proxy) roots(ctx context.Context, u *upstream, i Image) ([]contract.Digest, error) {
	if !i.Digest.IsZero() {
		return []contract.Digest{i.Digest}, nil
	}
	m, former, err := p.resolve(ctx, u, &p.tags, i.Repository, i.Tag)
	if err != nil {
		return nil, err
	}
	return append([]contract.Digest{m.digest}, former...), nil
}

// allowedManifest returns the manifest of t if one of the images allows it.
func (p *Proxy) allowedManifest(ctx context.Context, u *upstream, images []Image, t target) (*manifest, error) {
	denied := errDenied
	for _, i := range images {
		m, err := p.manifestOf(ctx, u, i, t)
		if err == nil {
			return m, nil
		}
		if !errors.Is(err, errDenied) {
			denied = err
		}
	}
	return nil, denied
}

func (p *Proxy) manifestOf(ctx context.Context, u *upstream, i Image, t target) (*manifest, error) {
	switch {
	case i.isWhole() && t.tag != "":
		m, _, err := p.resolve(ctx, u, &p.anyTags, i.Repository, t.tag)
		return m, err
	case i.isWhole():
		return p.manifest(ctx, u, i.Repository, t.digest)
	case t.tag != "" && t.tag != i.Tag:
		return nil, errDenied
	case t.tag != "" && !i.Digest.IsZero():
		return p.leaf(ctx, u, i, i.Digest)
	case t.tag != "":
		m, _, err := p.resolve(ctx, u, &p.tags, i.Repository, i.Tag)
		return i.admit(m, err)
	}
	roots, err := p.roots(ctx, u, i)
	if err != nil {
		return nil, err
	}
	for _, root := range roots {
		if root == t.digest {
			return p.leaf(ctx, u, i, root)
		}
		top, err := p.manifest(ctx, u, i.Repository, root)
		if err != nil {
			return nil, err
		}
		if _, ok := find(top.children, t.digest); ok {
			return p.leaf(ctx, u, i, t.digest)
		}
	}
	return nil, errDenied
}

func (p *Proxy) leaf(ctx context.Context, u *upstream, i Image, digest contract.Digest) (*manifest, error) {
	return i.admit(p.manifest(ctx, u, i.Repository, digest))
}

// admit returns an error for an image with another configuration than the
// pinned one.
func (i Image) admit(m *manifest, err error) (*manifest, error) {
	if err == nil && !i.Config.IsZero() && !m.isIndex() && m.config != i.Config {
		return nil, errDenied
	}
	return m, err
}

// unknownSize is the size of a blob of which no manifest was read.
const unknownSize = -1

// allowedBlob returns the size of a blob if one of the images allows it,
// unknownSize if only its repository is known.
func (p *Proxy) allowedBlob(ctx context.Context, u *upstream, images []Image, t target) (int64, error) {
	denied := errDenied
	isWhole := false
	for _, i := range images {
		if i.isWhole() {
			isWhole = true
			continue
		}
		size, err := p.blobOf(ctx, u, i, t.digest)
		if err == nil {
			return size, nil
		}
		if !errors.Is(err, errDenied) {
			denied = err
		}
	}
	if isWhole {
		return unknownSize, nil
	}
	return 0, denied
}

// blobOf looks for the blob in all manifests of the image. It fetches what is
// not in memory, so that a guest can continue after a restart of the daemon.
func (p *Proxy) blobOf(ctx context.Context, u *upstream, i Image, digest contract.Digest) (int64, error) {
	roots, err := p.roots(ctx, u, i)
	if err != nil {
		return 0, err
	}
	for _, root := range roots {
		top, err := p.manifest(ctx, u, i.Repository, root)
		if err != nil {
			return 0, err
		}
		if !top.isIndex() {
			if _, err := i.admit(top, nil); err != nil {
				continue
			}
			if d, ok := find(top.blobs, digest); ok {
				return d.size, nil
			}
			continue
		}
		size, err := p.blobOfIndex(ctx, u, i, top, digest)
		if !errors.Is(err, errDenied) {
			return size, err
		}
	}
	return 0, errDenied
}

func (p *Proxy) blobOfIndex(ctx context.Context, u *upstream, i Image, top *manifest, digest contract.Digest) (int64, error) {
	// A guest has its host's architecture.
	children := slices.Clone(top.children)
	slices.SortStableFunc(children, func(a, b descriptor) int { return rank(a) - rank(b) })
	if len(children) > maxChildren {
		children = children[:maxChildren]
	}
	denied := errDenied
	for _, c := range children {
		key := manifestKey(u.registry.Host, i.Repository, c.digest)
		if p.absent.has(key, p.now()) {
			continue
		}
		m, err := p.manifest(ctx, u, i.Repository, c.digest)
		if err != nil {
			if upstreamErr, ok := errors.AsType[*Error](err); ok && upstreamErr.cause == causeMissing {
				p.absent.add(key, p.now())
				continue // a platform that was not mirrored
			}
			denied = err
			continue
		}
		if _, err := i.admit(m, nil); err != nil {
			continue
		}
		if d, ok := find(m.blobs, digest); ok {
			return d.size, nil
		}
	}
	return 0, denied
}

// absent remembers what a registry did not have a short time ago: otherwise
// each request for a blob that is not allowed would ask the registry again.
type absent struct {
	mu    sync.Mutex
	until map[string]time.Time
}

const maxAbsent = 4096

func (a *absent) has(key string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return now.Before(a.until[key])
}

func (a *absent) add(key string, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.until == nil || len(a.until) >= maxAbsent {
		a.until = map[string]time.Time{} // it is learned again
	}
	a.until[key] = now.Add(resolveInterval)
}

func rank(d descriptor) int {
	if d.arch == runtime.GOARCH {
		return 0
	}
	return 1
}
