package registryproxy

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Checked is what [Check] found out about a registry.
type Checked struct {
	Host string `json:"host"`
	// Way is how it authenticates the host: "none", "password" or "token".
	Way string `json:"way"`
	// Push reports whether the credential can do more than pull; "unknown" means
	// that the registry does not say.
	Push   string         `json:"push"` // "yes", "no", "unknown"
	Images []CheckedImage `json:"images,omitempty"`
}

// CheckedImage is an image that could be pulled.
type CheckedImage struct {
	Image  string `json:"image"`
	Digest string `json:"digest"`
}

// Check proves that the registry can be reached, that it accepts the credential
// (also if images names no manifest), and that the manifests of images, which are on it, can be pulled. It writes
// nothing to the registry. An [*Error] says what is wrong.
func Check(ctx context.Context, r Registry, images []Image) (Checked, error) {
	u := newUpstream(r, time.Now, onlyPublic, answerTimeout)
	defer u.close()
	out := Checked{Host: r.Host, Way: "none", Push: "unknown"}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	learned, err := u.ping(ctx)
	if err != nil {
		return out, u.timedOut(ctx, err)
	}
	switch {
	case learned.isBasic:
		out.Way = "password"
	case learned.realm != nil:
		out.Way = "token"
	}
	for _, i := range images {
		if i.isWhole() {
			continue
		}
		reference := i.Tag
		if !i.Digest.IsZero() {
			reference = ""
		}
		m, err := u.fetchManifest(ctx, i.Repository, reference, i.Digest)
		if err != nil {
			return out, err
		}
		name := i.Host + "/" + i.Repository
		if i.Tag != "" {
			name += ":" + i.Tag
		}
		out.Images = append(out.Images, CheckedImage{Image: name, Digest: m.digest.String()})
	}
	if learned.realm == nil || r.Credential == nil && len(images) == 0 {
		return out, nil // the first request had the password, or there is none to prove
	}
	scope := "" // as at a login
	if len(images) > 0 {
		scope = "repository:" + images[0].Repository + ":pull"
	}
	// No manifest may have needed a token.
	if _, err := u.fetchToken(ctx, learned, scope); err != nil {
		return out, u.timedOut(ctx, err)
	}
	if len(images) > 0 {
		out.Push = u.canPush(ctx, learned, images[0].Repository)
	}
	return out, nil
}

// ping asks for /v2/, with the credential if the registry wants one that needs
// no scope, and returns the way of authentication.
func (u *upstream) ping(ctx context.Context) (way, error) {
	at := &url.URL{Scheme: "https", Host: u.endpoint, Path: Prefix}
	resp, err := u.send(ctx, http.MethodGet, at, nil, "")
	if err != nil {
		return way{}, err
	}
	discard(resp)
	if resp.StatusCode == http.StatusOK {
		return way{}, nil
	}
	if !isRefused(resp) {
		return way{}, u.failed(resp, "GET "+at.Path)
	}
	learned, err := u.learn(resp)
	if err != nil || learned.realm != nil {
		return learned, err
	}
	if !learned.isBasic {
		return way{}, u.fail(causeCredential, "GET %s answers %s and does not say how it wants to be authenticated", at.Path, u.clip(resp.Status))
	}
	auth, err := u.basic()
	if err != nil {
		return way{}, err
	}
	resp, err = u.send(ctx, http.MethodGet, at, nil, auth)
	if err != nil {
		return way{}, err
	}
	discard(resp)
	switch {
	case resp.StatusCode == http.StatusOK:
		return learned, nil
	case isRefused(resp):
		return way{}, u.fail(causeCredential, "GET %s answers %s to user name and password", at.Path, u.clip(resp.Status))
	}
	return way{}, u.failed(resp, "GET "+at.Path)
}

// canPush asks the token server for a token with more rights and reads the
// rights that it got, if the token contains them.
func (u *upstream) canPush(ctx context.Context, w way, repository string) string {
	got, err := u.fetchToken(ctx, w, "repository:"+repository+":pull,push")
	if err != nil {
		return "unknown"
	}
	parts := strings.Split(got.header, ".")
	if len(parts) != 3 {
		return "unknown"
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "unknown"
	}
	var claims struct {
		Access *[]struct {
			Name    string   `json:"name"`
			Actions []string `json:"actions"`
		} `json:"access"`
	}
	if json.Unmarshal(payload, &claims) != nil || claims.Access == nil {
		return "unknown"
	}
	for _, a := range *claims.Access {
		if a.Name == repository && slices.ContainsFunc(a.Actions, func(s string) bool { return s != "pull" }) {
			return "yes"
		}
	}
	return "no"
}
