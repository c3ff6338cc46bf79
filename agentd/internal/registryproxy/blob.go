package registryproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Why a stream ended early.
var (
	errRevoked = errors.New("the guest's token is no longer valid")
	errStalled = errors.New("no byte went through for too long")
	errTooLong = errors.New("the transfer took too long")
	errEnding  = errors.New("felhom-agentd is ending")
)

const blobType = "application/octet-stream"

// oneRange is the only supported form of a Range header; others are ignored, as
// HTTP allows.
var oneRange = regexp.MustCompile(`^bytes=(\d{1,18}-\d{0,18}|-\d{1,18})$`)

// serveBlob answers with a blob. An error means that nothing was sent.
func (p *Proxy) serveBlob(ctx context.Context, w http.ResponseWriter, r *request) error {
	size, err := p.allowedBlob(ctx, r.upstream, r.images, r.target)
	if err != nil {
		return err
	}
	if size > p.limits.MaxBlob {
		return r.upstream.fail(causeBad, "blob %s of %s: its manifest gives it %d bytes, which exceeds the limit of %d", r.digest, r.repository, size, p.limits.MaxBlob)
	}
	part := r.header.Get("Range")
	if !oneRange.MatchString(part) || len(r.header.Values("Range")) != 1 {
		part = ""
	}
	s := &stream{proxy: p, request: r, w: w, control: http.NewResponseController(w), length: make(chan int64, 1)}
	s.touch()
	ctx, stop := s.watch(ctx)
	defer stop()
	if file := p.cache.Open(r.name(), r.digest, size); file != nil {
		s.fromCache(file, part)
		return nil
	}
	return s.fromUpstream(ctx, size, part)
}

// stream is one blob on its way to a guest.
type stream struct {
	proxy   *Proxy
	request *request
	w       http.ResponseWriter
	control *http.ResponseController
	touched atomic.Int64 // when the last byte went through
	renew   time.Time    // when the deadline of the guest's side is set again
	ctx     context.Context
	sent    atomic.Int64
	length  chan int64 // of the answer, once it is known
	// How long each side was waited for.
	guest, registry side
}

func (s *stream) touch() { s.touched.Store(time.Now().UnixNano()) }

// watch ends the stream if the token is no longer valid, if nothing arrives, or
// if it takes too long, which counts from when its length is known: until then
// nothing arrives. A deadline ends the guest's side.
func (s *stream) watch(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	s.ctx = ctx
	limits := s.proxy.limits
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(limits.Check)
		defer tick.Stop()
		var end <-chan time.Time
		var pace pace
		for {
			var why error
			select {
			case <-done:
				return
			case <-parent.Done():
				why = context.Cause(parent)
			case length := <-s.length:
				end = time.After(limits.longest(length))
			case <-end:
				why = errTooLong
			case <-tick.C:
				switch {
				case !s.request.guest.IsValid():
					why = errRevoked
				case time.Since(time.Unix(0, s.touched.Load())) > limits.Stall:
					why = errStalled
				default:
					why = pace.judge(s)
				}
			}
			if why != nil {
				cancel(why)
				// After cancel: a Write that begins now checks ctx after it has set its own
				// deadline.
				_ = s.control.SetWriteDeadline(time.Unix(1, 0)) // a recorder has none
				return
			}
		}
	})
	return ctx, func() { close(done); running.Wait(); cancel(nil) }
}

// Write sends p to the guest, within its own deadline.
func (s *stream) Write(p []byte) (int, error) {
	if now := time.Now(); now.After(s.renew) {
		s.renew = now.Add(s.proxy.limits.Stall / 4)
		_ = s.control.SetWriteDeadline(now.Add(s.proxy.limits.Stall)) // a recorder has none
	}
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	s.guest.begin()
	defer s.guest.end()
	n, err := s.w.Write(p)
	s.sent.Add(int64(n))
	if err == nil && len(p) < copyBytes/2 { // a larger one is not held back
		if flushErr := s.control.Flush(); !errors.Is(flushErr, http.ErrNotSupported) {
			err = flushErr
		}
	}
	s.touch()
	return n, err
}

// Header implements [http.ResponseWriter].
func (s *stream) Header() http.Header { return s.w.Header() }

// WriteHeader implements [http.ResponseWriter].
func (s *stream) WriteHeader(status int) { s.w.WriteHeader(status) }

func (s *stream) audit(status int, isCached bool, err error) {
	if !s.request.wantsBody() {
		return
	}
	switch cause := context.Cause(s.ctx); {
	case err == nil:
	case cause != nil && !errors.Is(cause, context.Canceled): // the watch ended it
		err = cause
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = errStalled
	case cause != nil:
		err = cause
	}
	s.proxy.audit(s.request, Pull{Digest: s.request.digest.String(), Bytes: s.sent.Load(), Status: status, IsCached: isCached, Err: err})
}

func (s *stream) headers() http.Header {
	h := s.w.Header()
	h.Set("Content-Type", blobType)
	h.Set("Docker-Content-Digest", s.request.digest.String())
	h.Set("Etag", `"`+s.request.digest.String()+`"`)
	h.Set("Accept-Ranges", "bytes")
	return h
}

// fromCache answers from a file whose content was checked.
func (s *stream) fromCache(file *os.File, part string) {
	defer func() { _ = file.Close() }() // only read
	info, err := file.Stat()
	if err != nil {
		refuseInternal.write(s.w, s.request.wantsBody())
		return
	}
	s.headers()
	status, first, length := http.StatusOK, int64(0), info.Size()
	if part != "" {
		var ok bool
		if first, length, ok = resolveRange(part, info.Size()); !ok {
			refuseRange.write(s.w, s.request.wantsBody())
			return
		}
		status = http.StatusPartialContent
		s.w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, first+length-1, info.Size()))
	}
	s.w.Header().Set("Content-Length", strconv.FormatInt(length, 10))
	s.length <- length
	s.w.WriteHeader(status)
	if !s.request.wantsBody() {
		return
	}
	from := &noted{Reader: io.NewSectionReader(file, first, length)}
	err = copyExactly(s, from, length)
	if from.err != nil { // the guest asks for the rest, which must not be read there again
		s.proxy.cache.Broken(s.request.name(), s.request.digest, from.err)
	}
	s.audit(status, true, err)
}

// resolveRange returns the part of a blob that a Range header of oneRange's form
// means.
func resolveRange(part string, size int64) (first, length int64, ok bool) {
	from, to, _ := strings.Cut(strings.TrimPrefix(part, "bytes="), "-")
	if from == "" {
		n, err := strconv.ParseInt(to, 10, 64)
		if err != nil || n == 0 || size <= 0 { // a registry may name any size
			return 0, 0, false
		}
		n = min(n, size)
		return size - n, n, true
	}
	first, err := strconv.ParseInt(from, 10, 64)
	if err != nil || first >= size {
		return 0, 0, false
	}
	last := size - 1
	if to != "" {
		n, err := strconv.ParseInt(to, 10, 64)
		if err != nil || n < first {
			return 0, 0, false
		}
		last = min(last, n)
	}
	return first, last - first + 1, true
}

// fromUpstream passes a blob on as it arrives. It returns an error before the
// first byte; after that, the guest notices a failure by the announced length.
func (s *stream) fromUpstream(ctx context.Context, size int64, part string) error {
	r, u := s.request, s.request.upstream
	var header http.Header
	if part != "" {
		header = http.Header{"Range": {part}}
	}
	var records *recordConn // of the last request, which has the blob
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { records = recordsOf(i.Conn) }})
	resp, err := u.get(ctx, r.method, r.repository, "/blobs/"+r.digest.String(), header)
	if err != nil {
		return s.explain(err)
	}
	defer func() { _ = resp.Body.Close() }() // only read
	length, err := s.lengthOf(resp, size, part)
	if err != nil {
		return u.fail(causeBad, "blob %s of %s: %w", r.digest, r.repository, err)
	}
	h := s.headers()
	h.Set("Content-Length", strconv.FormatInt(length, 10))
	s.length <- length
	if resp.StatusCode == http.StatusPartialContent {
		h.Set("Content-Range", resp.Header.Get("Content-Range")) // it was parsed
	}
	s.w.WriteHeader(resp.StatusCode)
	if !r.wantsBody() {
		return nil
	}
	var to io.Writer = s
	if resp.StatusCode == http.StatusOK {
		if copied := s.proxy.cache.Create(r.name(), r.digest, length); copied != nil {
			defer copied.Close()
			to = &tee{s, copied}
		}
	}
	err = copyExactly(to, &arrivals{resp.Body, s, records}, length)
	if t, ok := to.(*tee); ok && err == nil {
		t.cache.Commit()
	}
	s.audit(resp.StatusCode, false, err)
	return nil
}

// explain distinguishes an end of the stream by the proxy from one by the registry.
func (s *stream) explain(err error) error {
	switch {
	case errors.Is(err, errStalled), errors.Is(err, errTooLong), errors.Is(err, errSlowRegistry), errors.Is(err, errSlowGuest):
		return s.request.upstream.fail(causeTimeout, "blob %s of %s: %w", s.request.digest, s.request.repository, err)
	case errors.Is(err, errRevoked):
		return errDenied
	}
	return err
}

// lengthOf checks an answer's shape, and returns the bytes that its body must have.
func (s *stream) lengthOf(resp *http.Response, size int64, part string) (int64, error) {
	if e := resp.Header.Get("Content-Encoding"); e != "" {
		return 0, fmt.Errorf("it comes with encoding %q", s.request.upstream.clip(e))
	}
	length := resp.ContentLength
	if resp.StatusCode == http.StatusPartialContent {
		var first, last, total int64
		text := resp.Header.Get("Content-Range")
		if n, err := fmt.Sscanf(text, "bytes %d-%d/%d", &first, &last, &total); err != nil || n != 3 || text != fmt.Sprintf("bytes %d-%d/%d", first, last, total) {
			return 0, errors.New("its Content-Range is not valid")
		}
		if size == unknownSize && total > s.proxy.limits.MaxBlob {
			return 0, fmt.Errorf("it is a part of %d bytes, which exceed the limit of %d", total, s.proxy.limits.MaxBlob)
		}
		if size != unknownSize && total != size || part == "" {
			return 0, errors.New("it is not the part that was asked for")
		}
		wantFirst, wantLength, ok := resolveRange(part, total)
		if !ok || first != wantFirst || last-first+1 != wantLength {
			return 0, errors.New("it is not the part that was asked for")
		}
		if length >= 0 && length != wantLength {
			return 0, errors.New("its length is not that of its Content-Range")
		}
		return wantLength, nil
	}
	switch {
	case size != unknownSize && length >= 0 && length != size:
		return 0, fmt.Errorf("it has %d bytes, its manifest says %d", length, size)
	case size != unknownSize:
		return size, nil
	case length < 0:
		return 0, errors.New("it comes without a length")
	case length > s.proxy.limits.MaxBlob:
		return 0, fmt.Errorf("it has %d bytes, which exceeds the limit of %d", length, s.proxy.limits.MaxBlob)
	}
	return length, nil
}

// arrivals notes when bytes of the registry arrive.
type arrivals struct {
	io.Reader
	stream  *stream
	records *recordConn // nil: it is not known what has arrived
}

// Read implements [io.Reader]. It waits for the first bytes alone, and returns
// what else has arrived with them.
func (a *arrivals) Read(p []byte) (int, error) {
	a.stream.registry.begin()
	n, err := a.Reader.Read(p)
	for more := 0; err == nil && n < len(p) && a.records.hasMore(); n += more {
		more, err = a.Reader.Read(p[n:])
	}
	a.stream.registry.end()
	if n > 0 {
		a.stream.touch()
	}
	return n, err
}

// tee writes to the guest and into the cache, whose faults do not matter to the
// guest.
type tee struct {
	*stream
	cache interface {
		io.Writer
		Commit()
		Close()
	}
}

// Write implements [io.Writer].
func (t *tee) Write(p []byte) (int, error) {
	n, err := t.stream.Write(p)
	if err == nil {
		_, _ = t.cache.Write(p) // what it could not write it does not keep
	}
	return n, err
}
