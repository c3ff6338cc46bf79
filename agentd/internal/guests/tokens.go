package guests

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/contract"
)

// ErrUnknownToken means that a token does not belong to a guest, or not any
// more.
var ErrUnknownToken = errors.New("unknown token")

// EndedError is the [ErrUnknownToken] of a token that was valid once.
type EndedError struct {
	VMID int
	Why  EndReason
}

// Error implements error.
func (e *EndedError) Error() string {
	return fmt.Sprintf("%v: this one of guest %d was %s", ErrUnknownToken, e.VMID, e.Why)
}

// Is reports whether target is [ErrUnknownToken].
func (e *EndedError) Is(target error) bool { return target == ErrUnknownToken }

// Match is a valid token.
type Match struct {
	VMID     int
	FirstUse bool // the record does not have the first use of this token yet
	Previous bool // the previous token, within its overlap
}

// Minted is the outcome of [Store.Mint].
type Minted struct {
	Token   token.Token
	Before  *Record    // nil: the guest is new
	Overlap *time.Time // until when the token in use before is still accepted; nil: there was none
}

const (
	// maxPending limits the tokens of commands that ended before they confirmed.
	maxPending = 64

	// maxEnded limits the ended tokens that a record keeps.
	maxEnded = 32
)

// Mint gives guest vmid a new token, which is valid at once, as are the
// previous ones. Write it into the guest's mount, then [Record.Confirm] it.
func (s *Store) Mint(ctx context.Context, vmid, idMapBase int, overlap time.Duration) (Minted, error) {
	minted := Minted{Token: token.Mint(vmid)}
	err := s.Update(ctx, vmid, func(r *Record) error {
		// Under the locks: without quorum the log would note a token that is never made.
		if err := s.observed(Change{TokenMinted, vmid, minted.Token.Digest().Short()}); err != nil {
			return err
		}
		now := s.now().UTC().Truncate(time.Second)
		fresh := Stored{SHA256: minted.Token.Digest(), Minted: now}
		isNew := r.Version == 0
		r.IDMapBase = idMapBase
		if isNew {
			r.ID, r.Added, r.Current = rand.Text(), now, fresh
			return nil
		}
		before := *r
		before.Pending = slices.Clone(r.Pending)
		minted.Before = &before
		if r.hasToken() {
			until := now.Add(overlap)
			minted.Overlap = &until
		}
		r.Pending = append(r.Pending, fresh)
		if over := len(r.Pending) - maxPending; over > 0 {
			r.Pending = slices.Delete(r.Pending, 0, over)
		}
		return nil
	})
	if err != nil {
		return Minted{}, fmt.Errorf("mint token of guest %d: %w", vmid, err)
	}
	return minted, nil
}

// Await notes that reports of the run, the last that the guest had reported, say
// nothing of what is written with the token, or begins now. It does nothing for a
// token that is not of the guest.
func (r *Record) Await(tok token.Token, run string) {
	digest := tok.Digest()
	if at := r.pending(digest); at >= 0 {
		r.Pending = slices.Clone(r.Pending)
		r.Pending[at].After = run
	}
	if r.Current.SHA256.Equal(digest) {
		r.Current.After = run
	}
	if r.Previous != nil && r.Previous.SHA256.Equal(digest) {
		previous := *r.Previous
		previous.After = run
		r.Previous = &previous
	}
}

// Awaited returns the run of [Record.Await] for the token that is in the mount.
func (r Record) Awaited(tok token.Token) string {
	all := append([]Stored{r.Current}, r.Pending...)
	if r.Previous != nil {
		all = append(all, *r.Previous)
	}
	for _, one := range all {
		if one.SHA256.Equal(tok.Digest()) {
			return one.After
		}
	}
	return ""
}

// Confirm makes the minted token, which is in the guest's mount now, the current
// one. The token that the guest uses stays valid until the new one is first used
// or the overlap has passed; other pending tokens end. It is safe to repeat, and
// does nothing if the token was revoked meanwhile.
func (r *Record) Confirm(minted Minted, now time.Time) {
	at := r.pending(minted.Token.Digest())
	if at < 0 {
		return
	}
	inUse := r.Current
	var unused *Stored
	if r.Previous != nil {
		if r.Current.FirstUsed == nil && r.Previous.validAt(now) {
			inUse, unused = *r.Previous, &r.Current
		} else {
			unused = r.Previous
		}
	}
	fresh := r.Pending[at]
	if fresh.After == "" {
		fresh.After = r.Current.After // only the token is new
	}
	others := slices.Delete(slices.Clone(r.Pending), at, at+1)
	if unused != nil {
		others = append(others, *unused)
	}
	r.end(EndReplaced, now, others...)
	r.Current, r.Previous, r.Pending, r.IsOwed = fresh, nil, nil, false
	if inUse.SHA256 == (token.Digest{}) {
		return
	}
	if inUse.ValidUntil = minted.Overlap; inUse.validAt(now) {
		r.Previous = &inUse
	} else {
		r.end(EndReplaced, now, inUse)
	}
}

// UntilUsed is how long a token stays valid that only the use of the next one
// ends.
const UntilUsed = 100 * 365 * 24 * time.Hour

// OverlapOf returns for how long the token in use stays valid, unless the next one is used
// before, when no operator asked for its end: until then, because the controller may run with
// it for as long as a change fails. An end that it has already stays. expireAfter is the age at
// which it ends all the same; 0: none. It is never less than overlap. Guests of the profile
// plain have overlap: their bootstrapper and engine read the mount, and nothing keeps a token.
func (r Record) OverlapOf(profile contract.Profile, now time.Time, overlap, expireAfter time.Duration) time.Duration {
	if profile == contract.ProfilePlain {
		return overlap
	}
	minted, stays := r.Current.Minted, UntilUsed
	if p := r.Previous; r.Current.FirstUsed == nil && p != nil && p.validAt(now) {
		minted, stays = p.Minted, p.ValidUntil.Sub(now)
	}
	if expireAfter > 0 {
		stays = min(stays, expireAfter-max(now.Sub(minted), 0))
	}
	return max(overlap, stays)
}

// EndOthers ends every token but the current one.
func (r *Record) EndOthers(now time.Time) {
	all := r.Pending
	if r.Previous != nil {
		all = append(slices.Clone(all), *r.Previous)
	}
	r.end(EndReplaced, now, all...)
	r.Previous, r.Pending = nil, nil
}

// validAt reports whether a token that has an end is still accepted.
func (s Stored) validAt(now time.Time) bool { return s.ValidUntil != nil && now.Before(*s.ValidUntil) }

// end records tokens that are not accepted any more.
func (r *Record) end(why EndReason, now time.Time, tokens ...Stored) {
	for _, t := range tokens {
		if t.SHA256 != (token.Digest{}) {
			r.Ended = append(slices.Clone(r.Ended), Ended{t.SHA256, now.UTC().Truncate(time.Second), why})
		}
	}
	if over := len(r.Ended) - maxEnded; over > 0 {
		r.Ended = slices.Delete(slices.Clone(r.Ended), 0, over)
	}
}

// withoutRevoked returns r without the tokens that current, a later state of
// the record, has as revoked, or as ended with the guest's disk.
func (r Record) withoutRevoked(current Record) Record {
	if current.Version == 0 {
		return r
	}
	wasRevoked := r.IsRevoked()
	revoked := slices.DeleteFunc(slices.Clone(current.Ended), func(e Ended) bool { return e.Why == EndReplaced || r.endOf(e.SHA256) == e.Why })
	isRevoked := func(t Stored) bool {
		return slices.ContainsFunc(revoked, func(e Ended) bool { return e.SHA256.Equal(t.SHA256) })
	}
	if isRevoked(r.Current) {
		r.Current = Stored{}
	}
	if r.Previous != nil && isRevoked(*r.Previous) {
		r.Previous = nil
	}
	r.Pending = slices.DeleteFunc(slices.Clone(r.Pending), isRevoked)
	r.Ended = append(slices.Clone(r.Ended), revoked...)
	if over := len(r.Ended) - maxEnded; over > 0 {
		r.Ended = slices.Delete(r.Ended, 0, over)
	}
	if !r.hasToken() {
		isOfDisk := r.IsOwed || current.IsOwed || len(revoked) > 0 && revoked[len(revoked)-1].Why == EndDisk
		// One that was revoked, before or meanwhile, gets none but by a command.
		r.IsOwed = isOfDisk && !wasRevoked && !current.IsRevoked()
	}
	return r
}

// hasToken reports whether the guest has a token that may be accepted.
func (r Record) hasToken() bool {
	return r.Current.SHA256 != (token.Digest{}) || r.Previous != nil || len(r.Pending) > 0
}

// IsRevoked reports whether the guest has no token, and gets none but by a command:
// all of them were revoked.
func (r Record) IsRevoked() bool { return r.Version != 0 && !r.hasToken() && !r.IsOwed }

// Revoke ends all tokens of guest vmid at once, also those of running commands,
// and returns how many they were. The guest stays known. Mint gives it a new
// token. It is safe to repeat.
func (s *Store) Revoke(ctx context.Context, vmid int) (ended int, err error) {
	return s.endAll(ctx, vmid, EndRevoked)
}

// End is Revoke because of what happened to the guest's disk. The guest is trusted
// as before: it is owed a new token. End does nothing to a guest without a token.
func (s *Store) End(ctx context.Context, vmid int) (ended int, err error) {
	return s.endAll(ctx, vmid, EndDisk)
}

func (s *Store) endAll(ctx context.Context, vmid int, why EndReason) (ended int, err error) {
	err = s.Update(ctx, vmid, func(r *Record) error {
		if r.Version == 0 {
			return ErrNotFound
		}
		all := append([]Stored{r.Current}, r.Pending...)
		if r.Previous != nil {
			all = append(all, *r.Previous)
		}
		all = slices.DeleteFunc(all, func(t Stored) bool { return t.SHA256 == (token.Digest{}) })
		ended = len(all)
		isOwed := why == EndDisk
		if ended == 0 && (isOwed || !r.IsOwed) {
			return errUnchanged
		}
		r.end(why, s.now(), all...)
		r.Current, r.Previous, r.Pending, r.IsOwed = Stored{}, nil, nil, isOwed
		return nil
	})
	if errors.Is(err, errUnchanged) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("end the tokens of guest %d: %w", vmid, err)
	}
	return ended, s.observed(Change{Kind: TokensRevoked, VMID: vmid})
}

// Confirm is [Record.Confirm] on the guest's record.
func (s *Store) Confirm(ctx context.Context, minted Minted) error {
	return s.Update(ctx, minted.Token.VMID(), func(r *Record) error {
		r.Confirm(minted, s.now())
		return nil
	})
}

// Authenticate finds the guest of tok. Any error but ErrUnknownToken means that
// the store could not be read; the token may be valid.
//
// A token that is not valid takes the same number of comparisons, whether the
// guest exists or not, and however many tokens it has had: the time of a refusal
// shows nothing of that.
func (s *Store) Authenticate(tok token.Token) (Match, error) {
	digest := tok.Digest()
	r, known, err := s.recent(tok.VMID())
	if err != nil {
		return Match{}, err // not "unknown": for a guest a refused token is final
	}

	current, previous := r.Current.SHA256, token.Digest{}
	valid := false
	now := s.now()
	if r.Previous != nil {
		previous = r.Previous.SHA256
		valid = r.Previous.validAt(now)
	}
	isCurrent, isPrevious := digest.Equal(current), digest.Equal(previous)
	switch {
	case known && isCurrent:
		return Match{VMID: r.VMID, FirstUse: r.Current.FirstUsed == nil}, nil
	case known && isPrevious && valid:
		return Match{VMID: r.VMID, Previous: true}, nil
	}
	isPending, why := r.pending(digest) >= 0, r.endOf(digest)
	for range maxPending + maxEnded - min(len(r.Pending)+len(r.Ended), maxPending+maxEnded) {
		isPending = digest.Equal(unknownDigest) || isPending
	}
	switch {
	case known && isPending:
		return Match{VMID: r.VMID, FirstUse: true}, nil
	case known && why != "":
		return Match{}, &EndedError{r.VMID, why}
	}
	return Match{}, ErrUnknownToken
}

// unknownDigest is of no token: not the digest of any text that has the form of one.
var unknownDigest = token.Sum("")

// endOf returns why the token is not accepted any more, "" if it never was or
// that is not known.
func (r Record) endOf(digest token.Digest) (why EndReason) {
	for _, e := range r.Ended {
		if e.SHA256.Equal(digest) {
			why = e.Why
		}
	}
	previous := token.Digest{}
	if r.Previous != nil {
		previous = r.Previous.SHA256
	}
	if previous.Equal(digest) && r.Previous != nil {
		why = EndReplaced
	}
	return why
}

// pending returns the place of the token in r.Pending, -1 if it is not there.
func (r *Record) pending(digest token.Digest) int {
	found := -1
	for i, p := range r.Pending {
		if p.SHA256.Equal(digest) {
			found = i
		}
	}
	return found
}

// markUsed records the first use of tok: the previous token ends. A pending
// token that is used has been in the mount, so that those minted before it are
// not in it any more.
func (r *Record) markUsed(tok token.Token, now time.Time) error {
	now = now.UTC().Truncate(time.Second)
	if r.Version == 0 {
		return errUnchanged
	}
	if at := r.pending(tok.Digest()); at >= 0 {
		r.end(EndReplaced, now, append(slices.Clone(r.Pending[:at]), r.Current)...)
		r.Current, r.Pending = r.Pending[at], slices.Clone(r.Pending[at+1:])
	}
	if !r.Current.SHA256.Equal(tok.Digest()) || r.Current.FirstUsed != nil {
		return errUnchanged
	}
	if r.Previous != nil {
		r.end(EndReplaced, now, *r.Previous)
	}
	r.Current.FirstUsed, r.Previous = &now, nil
	return nil
}

var errUnchanged = errors.New("nothing to change")
