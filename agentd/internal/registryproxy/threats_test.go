package registryproxy_test

import (
	"bytes"
	"testing"

	"github.com/felhom/felhom-golden/agentd/internal/registryproxy"
)

// TestThreats has the rows of docs/security.md that a registry or a guest tries
// through the proxy, by their names there.
func TestThreats(t *testing.T) {
	t.Run("image swapped upstream", func(t *testing.T) {
		t.Run("under its tag", swappedTag)
		t.Run("manifests", wrongManifests)
	})
	t.Run("admin credential reaches a guest", func(t *testing.T) {
		t.Run("realm", foreignRealm)
		t.Run("redirects", redirects)
		t.Run("headers", headersOfBothSides)
	})
	t.Run("push or delete through the proxy", onlyReads)
	t.Run("path tricks to other repositories", func(t *testing.T) {
		t.Run("grammar", onlyTheGrammar)
		t.Run("images", onlyAllowedImages)
	})
}

// swappedTag: the registry serves another image under the tag that the guest's
// image is pinned by. The guest gets the pinned one, or nothing.
func swappedTag(t *testing.T) {
	up := newUpstream(t)
	one := up.push(t, repository, "v1", "one")
	two := up.push(t, repository, "v1", "two")
	b := newBed(t, up)
	b.allow(registryproxy.Image{Host: up.host, Repository: repository, Tag: "v1", Digest: one.indexDigest})
	for path, want := range map[string][]byte{
		manifestPath("v1"): one.index, manifestPath(one.indexDigest.String()): one.index, manifestPath(one.digest.String()): one.manifest, blobPath(one.layerHash): one.layer,
	} {
		if got := b.get(t, path); got.status != 200 || !bytes.Equal(got.body, want) {
			t.Errorf("%s: %.300s, want the pinned image", path, got.all())
		}
	}
	for _, path := range []string{manifestPath(two.indexDigest.String()), manifestPath(two.digest.String()), blobPath(two.configDigest), blobPath(two.layerHash)} {
		if got := b.get(t, path); got.status != 403 {
			t.Errorf("%s of the other image: %.300s, want 403", path, got.all())
		}
	}
}
