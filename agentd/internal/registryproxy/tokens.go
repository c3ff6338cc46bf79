package registryproxy

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	maxTokenAnswer = 64 << 10
	maxTokenBytes  = 16 << 10
	// A token is valid for a minute by the specification if the server does not
	// set another time.
	minTokenLife = time.Minute
	maxTokenLife = time.Hour
	// tokenSlack is how long before its end a token is not used any more.
	tokenSlack = 10 * time.Second
	maxTokens  = 1024
)

// tokens is what is known about a registry's authentication: its way, and the
// valid tokens. In the zero value nothing is known.
type tokens struct {
	mu      sync.Mutex
	way     way
	byScope map[string]bearer
	flight  singleflight.Group
}

// way is the registry's way of authentication by its last challenge.
type way struct {
	isBasic bool
	realm   *url.URL // of a token server; nil and not isBasic: not known
	service string
}

type bearer struct {
	header string
	until  time.Time
}

// cached returns the Authorization header for scope, "" if it is not known.
func (t *tokens) cached(u *upstream, scope string) (string, error) {
	t.mu.Lock()
	isBasic, have := t.way.isBasic, t.byScope[scope]
	t.mu.Unlock()
	switch {
	case isBasic:
		auth, err := u.basic()
		if err != nil || u.refusals.wants(scope, sumOf(auth)) {
			return auth, err
		}
		return "", nil
	case have.header != "" && u.now().Before(have.until):
		return have.header, nil
	}
	return "", nil
}

func (t *tokens) drop(scope, auth string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byScope[scope].header == auth {
		delete(t.byScope, scope)
	}
	t.way = way{}
}

// renew returns a new Authorization header in place of the one that resp
// refuses.
func (t *tokens) renew(ctx context.Context, u *upstream, scope, refused string, resp *http.Response) (string, error) {
	learned, err := u.learn(resp)
	if err != nil {
		return "", err
	}
	t.mu.Lock()
	if learned == (way{}) { // a 403 without a challenge
		learned = t.way
	}
	t.way = learned
	have := t.byScope[scope]
	if have.header == refused {
		delete(t.byScope, scope)
	}
	t.mu.Unlock()
	switch {
	case have.header != "" && have.header != refused && u.now().Before(have.until):
		return have.header, nil // another request has renewed it
	case learned.isBasic:
		return u.basic()
	case learned.realm == nil:
		return "", u.refusedScope("answers %s and does not say how it wants to be authenticated", u.clip(resp.Status))
	}
	if err := u.refusals.check(scope, true, u.sum, u.now()); err != nil {
		return "", err // while this request was under way
	}
	// Not ctx: others wait for the same token.
	detached := context.WithoutCancel(ctx)
	done := t.flight.DoChan(scope, func() (any, error) {
		ctx, cancel := context.WithTimeout(detached, u.patience)
		defer cancel()
		got, err := u.fetchToken(ctx, learned, scope)
		if err != nil {
			return "", u.timedOut(ctx, err)
		}
		t.keep(scope, got, u.now())
		return got.header, nil
	})
	select {
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case r := <-done:
		if r.Err != nil {
			return "", r.Err
		}
		header, _ := r.Val.(string)
		return header, nil
	}
}

func (t *tokens) keep(scope string, b bearer, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byScope == nil {
		t.byScope = map[string]bearer{}
	}
	if len(t.byScope) >= maxTokens {
		for s, have := range t.byScope {
			if !now.Before(have.until) {
				delete(t.byScope, s)
			}
		}
	}
	if len(t.byScope) < maxTokens {
		t.byScope[scope] = b
	}
}

// basic returns the header with the host's user name and password.
func (u *upstream) basic() (string, error) {
	if u.registry.Credential == nil {
		return "", u.fail(causeCredential, "it wants a credential, and the host has none for it")
	}
	user, secret, err := u.registry.Credential()
	if err != nil {
		return "", u.fail(causeCredential, "read the credential: %w", err)
	}
	return basicPrefix + base64.StdEncoding.EncodeToString([]byte(user+":"+secret.Reveal())), nil
}

// learn reads a challenge. A token server gets the credential, so that the
// registry cannot choose it: its host is the registry's or a configured one.
func (u *upstream) learn(resp *http.Response) (way, error) {
	var foreign string
	basic := false
	for _, c := range parseChallenges(resp.Header) {
		switch c.scheme {
		case "basic":
			basic = true
		case "bearer":
			realm, err := url.Parse(c.params["realm"])
			switch {
			case err != nil || realm.Hostname() == "" || realm.Opaque != "" || realm.User != nil || realm.Fragment != "":
				foreign = "a token server whose address is not a URL"
			case realm.Scheme != "https":
				foreign = "a token server without https"
			case !u.isTokenHost(hostPort(realm.Host)):
				foreign = "the token server " + u.clip(realm.Host) + ", which is not one of its token_hosts"
			case len(c.params["service"]) > 256:
				foreign = "a service whose name is too long"
			default:
				return way{realm: realm, service: c.params["service"]}, nil
			}
		}
	}
	switch {
	case basic:
		return way{isBasic: true}, nil
	case foreign != "":
		return way{}, u.refusedScope("it names %s; nothing was sent there", foreign)
	}
	return way{}, nil
}

// fetchToken asks the token server. No redirect is followed.
func (u *upstream) fetchToken(ctx context.Context, w way, scope string) (bearer, error) {
	at := *w.realm
	query := at.Query()
	if scope != "" {
		query.Set("scope", scope)
	}
	if w.service != "" {
		query.Set("service", w.service)
	}
	at.RawQuery = query.Encode()
	auth := ""
	if u.registry.Credential != nil {
		var err error
		if auth, err = u.basic(); err != nil {
			return bearer{}, err
		}
	}
	asked := u.now()
	resp, err := u.prove(ctx, scope, auth, func(ctx context.Context) (*http.Response, bool, error) {
		resp, err := u.sendOver(ctx, u.own, http.MethodGet, &at, nil, auth) // learn has checked its host
		if err != nil {
			return nil, false, err
		}
		if err := u.judgeToken(resp, &at); err != nil {
			discard(resp)
			return nil, false, err
		}
		return resp, true, nil
	})
	if err != nil {
		return bearer{}, err
	}
	defer func() { _ = resp.Body.Close() }() // only read
	// No error of the decoder is shown: it may quote the token.
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxTokenAnswer+1))
	if err != nil || ctx.Err() != nil {
		return bearer{}, u.unreached(ctx, at.Host, err)
	}
	token, life, problem := parseToken(body)
	if problem != "" {
		return bearer{}, u.fail(causeBad, "its token server %s %s", u.clip(at.Host), problem)
	}
	return bearer{header: "Bearer " + token, until: asked.Add(life - tokenSlack)}, nil
}

// parseToken returns the token in a token server's answer, and for how long it is used.
// problem is what is wrong with the answer, without its content, or "".
func parseToken(body []byte) (token string, life time.Duration, problem string) {
	var got struct {
		Token       string  `json:"token"`
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
	}
	if len(body) > maxTokenAnswer || json.Unmarshal(body, &got) != nil {
		return "", 0, "answers with what is not a token"
	}
	token = got.Token
	if token == "" {
		token = got.AccessToken
	}
	if token == "" || len(token) > maxTokenBytes || !isVisible(token) {
		return "", 0, "gives a token that is not valid"
	}
	return token, time.Duration(min(max(got.ExpiresIn, minTokenLife.Seconds()), maxTokenLife.Seconds())) * time.Second, ""
}

// judgeToken returns what a token server's answer means if it has no token.
func (u *upstream) judgeToken(resp *http.Response, at *url.URL) error {
	switch code := resp.StatusCode; {
	case code == http.StatusOK:
		return nil
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		return u.failed(resp, "its token server "+at.Host)
	case code >= http.StatusInternalServerError || isRedirect(resp) || code == http.StatusNotFound:
		return u.fail(causeBad, "its token server %s answers %s", u.clip(at.Host), u.clip(resp.Status))
	}
	return u.refusedBy(resp, "its token server %s answers %s", u.clip(at.Host), u.clip(resp.Status))
}

func isVisible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}
