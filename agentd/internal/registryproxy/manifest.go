package registryproxy

import (
	"bytes"
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/felhom/felhom-golden/internal/contract"
)

const (
	maxManifestBytes = 4 << 20 // of the distribution specification
	maxDescriptors   = 1000
	maxFetches       = 8 // manifests of one registry that are read at once, each in memory
)

// The media types of manifests that are served: what engines run.
const (
	typeOCIIndex    = "application/vnd.oci.image.index.v1+json"
	typeOCIManifest = "application/vnd.oci.image.manifest.v1+json"
	typeDockerList  = "application/vnd.docker.distribution.manifest.list.v2+json"
	typeDocker      = "application/vnd.docker.distribution.manifest.v2+json"
)

var manifestTypes = []string{typeOCIIndex, typeOCIManifest, typeDockerList, typeDocker}

// manifest is one whose digest was checked.
type manifest struct {
	digest    contract.Digest
	mediaType string
	body      []byte
	children  []descriptor    // of an index: manifests
	config    contract.Digest // of an image
	blobs     []descriptor    // of an image: config and layers
}

type descriptor struct {
	digest contract.Digest
	size   int64
	arch   string // of a child
}

func (m *manifest) isIndex() bool {
	return m.mediaType == typeOCIIndex || m.mediaType == typeDockerList
}

func find(of []descriptor, digest contract.Digest) (descriptor, bool) {
	i := slices.IndexFunc(of, func(d descriptor) bool { return d.digest == digest })
	if i < 0 {
		return descriptor{}, false
	}
	return of[i], true
}

// parseManifest reads a manifest of the media type that the registry names.
func (u *upstream) parseManifest(body []byte, contentType string) (*manifest, error) {
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil || !slices.Contains(manifestTypes, mediaType) {
		return nil, fmt.Errorf("a manifest of type %q, which is not an image's", u.clip(contentType))
	}
	var raw struct {
		SchemaVersion int     `json:"schemaVersion"`
		MediaType     string  `json:"mediaType"`
		Config        *entry  `json:"config"`
		Layers        entries `json:"layers"`
		Manifests     entries `json:"manifests"`
	}
	switch err := json.Unmarshal(body, &raw); {
	case errors.Is(err, errEntries):
		return nil, errEntries
	case err != nil:
		return nil, errors.New("a manifest that is not valid JSON")
	}
	m := &manifest{digest: digestOf(body), mediaType: mediaType, body: body}
	switch {
	case raw.SchemaVersion != 2:
		return nil, fmt.Errorf("a manifest of schema version %d, want 2", raw.SchemaVersion)
	case raw.MediaType != "" && raw.MediaType != mediaType:
		return nil, errors.New("a manifest whose header and body name two types")
	// One text must not be an index to one reader and an image to another.
	case m.isIndex() && (raw.Config != nil || raw.Layers != nil), !m.isIndex() && (raw.Config == nil || raw.Manifests != nil):
		return nil, errors.New("a manifest that is not of its type")
	}
	take := func(e entry) (descriptor, error) {
		d, err := contract.ParseDigest(e.Digest)
		if err != nil || e.Size < 0 {
			return descriptor{}, errors.New("a manifest with an entry whose digest or size is not valid")
		}
		return descriptor{digest: d, size: e.Size, arch: e.Platform.Architecture}, nil
	}
	for _, e := range raw.Manifests {
		d, err := take(e)
		if err != nil {
			return nil, err
		}
		m.children = append(m.children, d)
	}
	if raw.Config == nil {
		return m, nil
	}
	for _, e := range append([]entry{*raw.Config}, raw.Layers...) {
		d, err := take(e)
		if err != nil {
			return nil, err
		}
		m.blobs = append(m.blobs, d)
	}
	m.config = m.blobs[0].digest
	return m, nil
}

// entry is what is read of a descriptor.
type entry struct {
	Digest   string `json:"digest"`
	Size     int64  `json:"size"`
	Platform struct {
		Architecture string `json:"architecture"`
	} `json:"platform"`
}

// entries is a list with a limit on its length: in memory, an entry has many
// times the size of its shortest text.
type entries []entry

var errEntries = fmt.Errorf("a manifest with more than %d entries", maxDescriptors)

// UnmarshalJSON implements [json.Unmarshaler].
func (e *entries) UnmarshalJSON(data []byte) error {
	*e = nil
	if string(data) == "null" {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if first, err := d.Token(); err != nil || first != json.Delim('[') {
		return errors.New("want a list")
	}
	out := entries{}
	for d.More() {
		if len(out) == maxDescriptors {
			return errEntries
		}
		var one entry
		if err := d.Decode(&one); err != nil {
			return err
		}
		out = append(out, one)
	}
	*e = out
	return nil
}

func digestOf(data []byte) contract.Digest {
	sum := sha256.Sum256(data)
	d, err := contract.ParseDigest("sha256:" + hex.EncodeToString(sum[:]))
	if err != nil {
		panic(err) // a SHA-256 has this form
	}
	return d
}

// fetchManifest gets a manifest by tag or digest. Nothing of it is used before
// its SHA-256 is known: for a digest it must be that one, for a tag the one
// that the registry names.
func (u *upstream) fetchManifest(ctx context.Context, repository, tag string, digest contract.Digest) (*manifest, error) {
	ctx, cancel := context.WithTimeout(ctx, u.patience)
	defer cancel()
	if err := u.manifests.Acquire(ctx, 1); err != nil {
		return nil, u.timedOut(ctx, err)
	}
	defer u.manifests.Release(1)
	reference := tag
	if tag == "" {
		reference = digest.String()
	}
	header := http.Header{"Accept": {strings.Join(manifestTypes, ", ")}}
	resp, err := u.get(ctx, http.MethodGet, repository, "/manifests/"+reference, header)
	if err != nil {
		return nil, u.timedOut(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }() // only read
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Encoding") != "" {
		return nil, u.fail(causeBad, "answers a manifest with status %s and encoding %q", u.clip(resp.Status), u.clip(resp.Header.Get("Content-Encoding")))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxManifestBytes+1))
	// A registry that sees the end of the connection may still end its answer.
	if err != nil || ctx.Err() != nil {
		return nil, u.timedOut(ctx, u.unreached(ctx, u.endpoint, err))
	}
	if len(body) > maxManifestBytes {
		return nil, u.fail(causeBad, "manifest %s of %s exceeds the limit of %d bytes", reference, repository, maxManifestBytes)
	}
	m, err := u.parseManifest(body, resp.Header.Get("Content-Type"))
	if err != nil {
		return nil, u.fail(causeBad, "manifest %s of %s: %w", reference, repository, err)
	}
	want := digest
	if named := resp.Header.Get("Docker-Content-Digest"); tag != "" && named != "" {
		if want, err = contract.ParseDigest(named); err != nil {
			return nil, u.fail(causeBad, "manifest %s of %s: the registry names a digest that is not a SHA-256", reference, repository)
		}
	}
	if !want.IsZero() && m.digest != want {
		return nil, u.fail(causeBad, "manifest %s of %s has digest %s, want %s", reference, repository, m.digest, want)
	}
	return m, nil
}

// timedOut turns the end of the proxy's own deadline into a fault of the
// upstream.
func (u *upstream) timedOut(ctx context.Context, err error) error {
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		return u.fail(causeTimeout, "no answer within its time")
	}
	return err
}

// manifests keeps the manifests that were fetched last, within a limit of bytes.
type manifests struct {
	limit int

	mu    sync.Mutex
	bytes int
	byKey map[string]*list.Element // by repository and digest
	used  list.List                // of stored, the last used first
}

type stored struct {
	key string
	m   *manifest
}

func manifestKey(host, repository string, digest contract.Digest) string {
	return host + "/" + repository + "@" + digest.String()
}

// cost returns about how many bytes a manifest takes in memory.
func (m *manifest) cost() int { return 2*len(m.body) + 512 }

func (c *manifests) get(key string) *manifest {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byKey[key]
	if e == nil {
		return nil
	}
	c.used.MoveToFront(e)
	s, _ := e.Value.(stored)
	return s.m
}

func (c *manifests) put(key string, m *manifest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byKey == nil {
		c.byKey = map[string]*list.Element{}
	}
	if c.byKey[key] != nil || m.cost() > c.limit {
		return
	}
	c.byKey[key] = c.used.PushFront(stored{key, m})
	c.bytes += m.cost()
	for c.bytes > c.limit {
		last := c.used.Back()
		s, _ := c.used.Remove(last).(stored)
		delete(c.byKey, s.key)
		c.bytes -= s.m.cost()
	}
}
