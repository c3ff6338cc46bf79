package registryproxy

import (
	"strings"

	"github.com/felhom/felhom-golden/internal/contract"
)

// Prefix is the path below which the proxy answers.
const Prefix = "/v2/"

type kind int

const (
	kindPing kind = iota + 1
	kindManifest
	kindBlob
)

// target is a path that follows the grammar. The registry's host is not in it,
// so that repository is only a path.
type target struct {
	kind       kind
	repository string
	tag        string          // of a manifest, "" for a digest
	digest     contract.Digest // zero for a tag
}

// parsePath reads the escaped form of a path. It accepts one spelling of each
// path: nothing is decoded, cleaned or redirected.
func parsePath(escaped string) (target, bool) {
	rest, ok := strings.CutPrefix(escaped, Prefix)
	if !ok || len(escaped) > maxPathBytes {
		return target{}, false
	}
	if rest == "" {
		return target{kind: kindPing}, true
	}
	parent, reference, ok := cutLast(rest)
	if !ok {
		return target{}, false
	}
	repository, word, ok := cutLast(parent)
	if !ok {
		return target{}, false
	}
	t := target{repository: repository}
	separator := "@"
	switch {
	case word == "blobs":
		t.kind = kindBlob
	case word == "manifests" && strings.Contains(reference, ":"):
		t.kind = kindManifest
	case word == "manifests":
		t.kind, separator = kindManifest, ":"
	default:
		return target{}, false
	}
	// The contract's parser is the one grammar of names, tags and digests. A
	// second separator in reference would be read as another part.
	if strings.Contains(repository, ":") || strings.Contains(repository, "@") || strings.Contains(reference, "@") {
		return target{}, false
	}
	ref, err := contract.ParseImageRef(anyHost + "/" + repository + separator + reference)
	if err != nil || ref.Path() != repository {
		return target{}, false
	}
	t.tag, t.digest = ref.Tag(), ref.Digest()
	return t, true
}

const (
	// maxPathBytes is above the longest name (255), word and digest.
	maxPathBytes = 512
	// anyHost is used as the registry if only the rest is checked.
	anyHost = "registry.invalid"
)

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}
