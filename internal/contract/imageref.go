package contract

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// ImageRef is a full image reference: registry host, path, and a tag or a
// digest or both. The zero ImageRef stands for no image. References are comparable with ==.
//
// It is full so that one text means the same image on every engine: "app" or
// "team/app" depend on rules that differ between tools, and the image of a
// reference without tag and digest changes.
type ImageRef struct {
	host, path, tag string
	digest          Digest
}

// maxImageNameBytes is the limit of the distribution specification on host and
// path together.
const maxImageNameBytes = 255

// ParseImageRef reads HOST[:PORT]/PATH[:TAG][@sha256:HEX] with at least one of
// tag and digest, by the grammar of github.com/distribution/reference.
func ParseImageRef(s string) (ImageRef, error) {
	if s == "" {
		return ImageRef{}, errors.New("the image reference is empty")
	}
	if strings.Contains(s, "://") {
		return ImageRef{}, errors.New(`an image reference has no scheme; leave out "://" and what comes before it`)
	}
	if i := strings.IndexAny(s, " \t\r\n"); i >= 0 {
		return ImageRef{}, fmt.Errorf("the image reference has a blank at byte %d; remove it", i+1)
	}
	var ref ImageRef
	name, digest, hasDigest := strings.Cut(s, "@")
	if hasDigest {
		d, err := ParseDigest(digest)
		if err != nil {
			return ImageRef{}, fmt.Errorf(`after the "@": %w`, err)
		}
		ref.digest = d
	}
	host, rest, found := strings.Cut(name, "/")
	if !found || !looksLikeHost(host) {
		return ImageRef{}, errors.New("the registry is missing; write the full reference, as in registry.example/team/app:1.0")
	}
	if err := checkRegistryHost(host); err != nil {
		return ImageRef{}, fmt.Errorf("registry of the image: %w", err)
	}
	path, tag, hasTag := strings.Cut(rest, ":")
	if hasTag && !isTag(tag) {
		return ImageRef{}, errors.New("the tag is not valid: 1 to 128 letters, digits, dots, hyphens and underscores, not beginning with a dot or hyphen")
	}
	switch {
	case !hasTag && !hasDigest:
		return ImageRef{}, errors.New(`tag and digest are missing; add ":TAG" or "@sha256:HEX", since what ":latest" stands for changes`)
	case path == "":
		return ImageRef{}, errors.New("the path after the registry is missing")
	case path != strings.ToLower(path):
		return ImageRef{}, errors.New("the path has upper-case letters; registries know lower case only")
	case !pathPattern().MatchString(path):
		return ImageRef{}, errors.New("the path is not valid: parts between slashes are lower-case letters and digits, joined by one dot, one or two underscores, or hyphens")
	case len(host)+1+len(path) > maxImageNameBytes:
		return ImageRef{}, fmt.Errorf("registry and path are %d bytes long; at most %d are possible", len(host)+1+len(path), maxImageNameBytes)
	case host == "docker.io" && !strings.Contains(path, "/"):
		return ImageRef{}, fmt.Errorf("images of docker.io have two parts; write docker.io/library/%s", path)
	}
	ref.host, ref.path, ref.tag = host, path, tag
	return ref, nil
}

// looksLikeHost is Docker's rule that distinguishes a registry from the first
// directory of a path.
func looksLikeHost(s string) bool {
	return strings.ContainsAny(s, ".:") || s == "localhost"
}

// isTag is the pattern [A-Za-z0-9_][A-Za-z0-9_.-]{0,127} of the distribution
// specification. As an expression it would be the most work of a guest's start.
func isTag(s string) bool {
	for i, c := range []byte(s) {
		word := c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_'
		if !word && (i == 0 || c != '.' && c != '-') {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 128
}

// pathPattern is that of the distribution specification; it is made when used
// because nothing here is parsed more than a few times in a run.
func pathPattern() *regexp.Regexp {
	const part = `[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*`
	return regexp.MustCompile(`\A` + part + `(?:/` + part + `)*\z`)
}

// Host returns the registry, host or host:port.
func (r ImageRef) Host() string { return r.host }

// Path returns the repository's path on the registry.
func (r ImageRef) Path() string { return r.path }

// Name returns registry and path, without tag and digest.
func (r ImageRef) Name() string {
	if r.IsZero() {
		return ""
	}
	return r.host + "/" + r.path
}

// Tag returns the tag, "" if the reference has no tag.
func (r ImageRef) Tag() string { return r.tag }

// Digest returns the manifest digest after the "@", zero if the reference has no digest.
func (r ImageRef) Digest() Digest { return r.digest }

// IsZero reports whether there is no reference.
func (r ImageRef) IsZero() bool { return r == ImageRef{} }

// String returns the reference as it was written.
func (r ImageRef) String() string {
	s := r.Name()
	if r.tag != "" {
		s += ":" + r.tag
	}
	if !r.digest.IsZero() {
		s += "@" + r.digest.String()
	}
	return s
}

// WithHost returns the same image on another registry, host or host:port: the
// name to pull from through a mirror.
func (r ImageRef) WithHost(host string) (ImageRef, error) {
	if r.IsZero() {
		return ImageRef{}, errors.New("there is no image reference to move to another registry")
	}
	// Parsing alone would take "mirror.example/x" for a host and a longer path.
	if err := checkRegistryHost(host); err != nil {
		return ImageRef{}, err
	}
	r.host = host
	return ParseImageRef(r.String())
}

// MarshalText writes [ImageRef.String].
func (r ImageRef) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what [ParseImageRef] reads; an empty text is the zero
// ImageRef.
func (r *ImageRef) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*r = ImageRef{}
		return nil
	}
	*r, err = ParseImageRef(string(text))
	return err
}
