package registryproxy

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	// refusalInterval is for how long a refusal is remembered: registries lock an
	// account out whose password is wrong too often, and guests ask again and again.
	refusalInterval = time.Minute
	// maxRefusalInterval bounds it after it was doubled, as it is with each
	// refusal of the password itself.
	maxRefusalInterval = 15 * time.Minute
	// maxTrials are the other repositories for which a password is tried at once
	// after it was refused for the first one: the account may lack one right alone.
	maxTrials = 2
)

// answerGrace is for how long the answer to a password is waited for when the
// guest is gone. It is shorter than the daemon's time to end.
const answerGrace = 8 * time.Second

// refusals is what a registry refused. All of it is about one credential, and is
// forgotten when there is another one.
type refusals struct {
	turn chan struct{} // held by the request that sends a password which is not known to be good

	mu       sync.Mutex
	sum      credentialSum
	isGood   bool            // the credential was accepted
	accepted map[string]bool // the scopes for which it was
	byScope  map[string]remembered
	all      remembered    // of the password, for every scope
	wait     time.Duration // of all
	trials   int           // scopes that may try although all says no
}

type remembered struct {
	err   *Error
	until time.Time
}

func newRefusals() *refusals { return &refusals{turn: make(chan struct{}, 1)} }

// credentialSum identifies a credential without holding it; zero: there is none.
type credentialSum [sha256.Size]byte

func sumOf(header string) credentialSum {
	if header == "" {
		return credentialSum{}
	}
	return sha256.Sum256([]byte(header))
}

// change forgets what is known of another credential. r.mu is held.
func (r *refusals) change(sum credentialSum) {
	if r.byScope != nil && r.sum == sum && len(r.byScope) < maxTokens && len(r.accepted) < maxTokens {
		return
	}
	r.sum, r.accepted, r.byScope = sum, map[string]bool{}, map[string]remembered{}
	r.isGood, r.all, r.wait, r.trials = false, remembered{}, 0, 0
}

// check returns what the registry refused of a scope not long ago, or of the
// password if it would be sent. sum is only called if there is anything.
func (r *refusals) check(scope string, withPassword bool, sum func() credentialSum, now time.Time) error {
	r.mu.Lock()
	isEmpty := len(r.byScope) == 0
	r.mu.Unlock()
	if isEmpty {
		return nil
	}
	current := sum()
	r.mu.Lock()
	defer r.mu.Unlock()
	own, wasRefused := r.byScope[scope]
	switch {
	case r.sum != current:
	case now.Before(own.until):
		return own.err
	case withPassword && now.Before(r.all.until) && (wasRefused || r.trials == 0):
		return r.all.err
	}
	return nil
}

// refuse remembers err, a refusal of a scope. It returns the form of it that is
// not remembered once more.
func (r *refusals) refuse(scope string, sum credentialSum, err *Error, now time.Time) *Error {
	known := *err
	known.isRefusal = false
	r.mu.Lock()
	defer r.mu.Unlock()
	r.change(sum)
	_, wasRefused := r.byScope[scope]
	r.byScope[scope] = remembered{&known, now.Add(refusalInterval)}
	if !err.isPassword || r.isGood && !r.accepted[scope] {
		return &known // the account has no right to this one
	}
	switch {
	case r.accepted[scope]: // it was good and is not any more
		r.isGood, r.trials = false, 1
		clear(r.accepted)
	case r.all.err == nil:
		r.trials = maxTrials
	case !wasRefused && r.trials > 0:
		r.trials--
	}
	if !now.Before(r.all.until) {
		r.wait = min(max(2*r.wait, refusalInterval), maxRefusalInterval)
	}
	r.all = remembered{&known, now.Add(r.wait)}
	// Longer for each scope that was refused, so that they take turns: the
	// password can be good for another one.
	r.byScope[scope] = remembered{&known, now.Add(r.wait * time.Duration(len(r.byScope)))}
	return &known
}

func (r *refusals) accept(scope string, sum credentialSum) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.change(sum)
	r.isGood, r.accepted[scope] = true, true
	r.all, r.wait, r.trials = remembered{}, 0, 0
	delete(r.byScope, scope)
}

// wants reports whether the registry asked for the credential for a scope, and
// accepted it. For others it is asked without one first: they may be public.
func (r *refusals) wants(scope string, sum credentialSum) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sum == sum && r.accepted[scope]
}

func (r *refusals) isKnownGood(sum credentialSum) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sum == sum && r.isGood
}

// sum identifies the credential that the host has now.
func (u *upstream) sum() credentialSum {
	if u.registry.Credential == nil {
		return credentialSum{}
	}
	auth, err := u.basic()
	if err != nil {
		return credentialSum{} // it is read again when it is needed
	}
	return sumOf(auth)
}

// remember keeps a refusal, so that the registry is not asked again soon.
func (u *upstream) remember(scope string, err error) error {
	if e, ok := errors.AsType[*Error](err); ok && e.isRefusal {
		return u.refusals.refuse(scope, u.sum(), e, u.now())
	}
	return err
}

// prove calls do, which sends auth for a scope and reports whether it was
// accepted, and returns its answer. What is sent with a password is not cut
// short at once when ctx ends, since a guest that leaves must not keep a refusal
// from being remembered. A password that is not known to be good is sent by one request at a
// time, and is not sent again soon after it was refused.
func (u *upstream) prove(ctx context.Context, scope, auth string, do func(context.Context) (_ *http.Response, isAccepted bool, err error)) (*http.Response, error) {
	if !isPassword(auth) {
		resp, _, err := do(ctx)
		return resp, err
	}
	sum := sumOf(auth)
	if !u.refusals.isKnownGood(sum) {
		select {
		case u.refusals.turn <- struct{}{}:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		defer func() { <-u.refusals.turn }()
		if err := u.refusals.check(scope, true, func() credentialSum { return sum }, u.now()); err != nil {
			return nil, err
		}
	}
	detached, cancelWith := context.WithCancelCause(context.WithoutCancel(ctx))
	cancel := func() { cancelWith(context.Cause(ctx)) } // which tells a deadline from a guest that leaves
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(min(answerGrace, u.patience)):
			cancel()
		case <-detached.Done():
		}
	})
	resp, isAccepted, err := do(detached)
	stop()
	context.AfterFunc(ctx, cancel) // from here on the body ends with ctx
	if err != nil {
		cancel()
	}
	if e, ok := errors.AsType[*Error](err); ok && e.isRefusal {
		return nil, u.refusals.refuse(scope, sum, e, u.now())
	}
	if isAccepted {
		u.refusals.accept(scope, sum)
	}
	return resp, err
}

const basicPrefix = "Basic "

func isPassword(auth string) bool { return strings.HasPrefix(auth, basicPrefix) }

// try sends a request of a scope once. An answer that refuses it is returned
// where the registry may accept something else than auth.
func (u *upstream) try(ctx context.Context, scope, method string, at *url.URL, header http.Header, auth string) (*http.Response, error) {
	return u.prove(ctx, scope, auth, func(ctx context.Context) (*http.Response, bool, error) {
		resp, err := u.send(ctx, method, at, header, auth)
		if err != nil {
			return nil, false, err
		}
		if !isRefused(resp) {
			return resp, resp.StatusCode < http.StatusInternalServerError && resp.StatusCode != http.StatusTooManyRequests, nil
		}
		if !isPassword(auth) {
			return resp, false, nil
		}
		if learned, err := u.learn(resp); err == nil && learned.realm != nil {
			return resp, false, nil // it wants a token by now
		}
		discard(resp)
		u.tokens.drop(scope, auth)
		return nil, false, u.refusedBy(resp, "%s %s answers %s to user name and password of the host", method, at.Path, u.clip(resp.Status))
	})
}

// refusedBy returns the fault of a registry that refuses a request with the
// host's credential, or with none.
func (u *upstream) refusedBy(resp *http.Response, format string, args ...any) *Error {
	err := u.fail(causeCredential, format, args...)
	err.isRefusal = true
	// Some token servers answer 400, as of OAuth.
	err.isPassword = resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusBadRequest
	return err
}

// refusedScope returns the fault of a registry that refuses a scope, whatever the
// password is.
func (u *upstream) refusedScope(format string, args ...any) *Error {
	err := u.fail(causeCredential, format, args...)
	err.isRefusal = true
	return err
}
