package apt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/golden/internal/deb822"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/regular"
)

// maxRelease is the largest InRelease that is read; Debian's are about 150 KiB.
const maxRelease = 8 << 20

// Release says which state of a suite an archive offers. The digest covers
// every package of the suite, because InRelease lists the digests of all indexes.
type Release struct {
	URI    string    `json:"uri"`
	Suite  string    `json:"suite"`
	SHA256 string    `json:"sha256"` // of InRelease, hexadecimal
	Date   time.Time `json:"date"`   // zero when the file has none

	ValidUntil time.Time `json:"-"` // zero when the file has none; a part of what the digest is of
}

// Client fetches releases. The zero value uses http.DefaultClient, which heeds
// the proxy variables of the environment.
type Client struct {
	HTTP *http.Client
}

// Release fetches what suite is at uri now. An archive that does not answer is
// an error of class not-ready, one without the suite of class refused.
func (c Client) Release(ctx context.Context, uri, suite string) (Release, error) {
	at := strings.TrimSuffix(uri, "/") + "/" + path.Join("dists", suite, "InRelease")
	data, err := c.get(ctx, at)
	if err != nil {
		return Release{}, fmt.Errorf("read state of suite %s: %w", suite, err)
	}
	sum := sha256.Sum256(data)
	rel := Release{URI: uri, Suite: suite, SHA256: hex.EncodeToString(sum[:])}
	if _, body, ok := strings.Cut(string(data), "\n\n"); ok { // after the armour's head
		for p := range deb822.Paragraphs(body, "date", "valid-until") {
			if t, err := time.Parse(time.RFC1123, p["date"]); err == nil && rel.Date.IsZero() {
				rel.Date = t.UTC()
			}
			if t, err := time.Parse(time.RFC1123, p["valid-until"]); err == nil && rel.ValidUntil.IsZero() {
				rel.ValidUntil = t.UTC()
			}
		}
	}
	return rel, nil
}

func (c Client) get(ctx context.Context, at string) (_ []byte, err error) {
	if name, ok := strings.CutPrefix(at, "file:"); ok {
		data, err := regular.Read("/"+strings.TrimLeft(name, "/"), maxRelease)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, notThere(err)
		}
		return data, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err)
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fault.WrapHint(fault.NotReady, err, "the mirror does not answer: try again, or name another one with apt.mirror in the recipe")
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return nil, notThere(fmt.Errorf("GET %s: %s", at, resp.Status))
	case resp.StatusCode != http.StatusOK:
		return nil, fault.WrapHint(fault.NotReady, fmt.Errorf("GET %s: want 200, got %s", at, resp.Status), "the mirror is not well: try again, or name another one with apt.mirror in the recipe")
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxRelease+1))
	if err != nil {
		return nil, fault.Wrap(fault.NotReady, fmt.Errorf("GET %s: %w", at, err))
	}
	if len(data) > maxRelease {
		return nil, fault.Errorf(fault.Invalid, "GET %s: want at most %d bytes", at, maxRelease)
	}
	return data, nil
}

func notThere(err error) error {
	return fault.WrapHint(fault.Invalid, err, "the mirror does not have this suite: look at suite, apt.mirror and apt.security in the recipe")
}

// isPrivateHost knows loopback, private and link-local addresses, names without
// a dot, and the top-level names that never leave a house.
func isPrivateHost(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast()
	}
	i := strings.LastIndexByte(host, '.')
	if i < 0 {
		return true
	}
	switch host[i+1:] {
	case "local", "localhost", "localdomain", "lan", "internal", "home", "arpa", "test", "invalid":
		return true
	}
	return false
}

// Snapshot puts the time t into a mirror with {snapshot} in it.
func Snapshot(mirror string, t time.Time) string {
	return strings.ReplaceAll(mirror, "{snapshot}", url.PathEscape(t.UTC().Format("20060102T150405Z")))
}
