package registryproxy_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/registryproxy"
)

// manyGuests is a bed whose guests are told apart by a header, all with the same images.
func manyGuests(t *testing.T, up *upstream, options ...option) *bed {
	t.Helper()
	var b *bed
	images := func(o *registryproxy.Options) {
		o.Images = func(context.Context, int) ([]registryproxy.Image, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.images, nil
		}
	}
	b = newBed(t, up, append(options, images)...)
	b.start(t, httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		vmid, err := strconv.Atoi(r.Header.Get("X-Guest"))
		if err != nil {
			vmid = 8200
		}
		b.Serve(w, r, registryproxy.Guest{VMID: vmid, IsValid: func() bool { return true }})
	})))
	return b
}

// open begins to read a blob as a guest and leaves the rest unread.
func (b *bed) open(t *testing.T, vmid int, path string) (status int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.server.URL+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Guest", strconv.Itoa(vmid))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp.StatusCode
}

// However many guests hold as many slots as they get, another one still pulls.
func TestGuestsDoNotTakeEachOthersSlots(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	onBlobs(up, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, i.configDigest.Hex()) {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(i.config))
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(i.layer)))
		_, _ = w.Write([]byte("x"))
		w.(http.Flusher).Flush()
		select {
		case <-end:
		case <-r.Context().Done():
		}
	})
	b := manyGuests(t, up, withLimits(registryproxy.Limits{PerGuest: 3, Total: 4, Wait: 300 * time.Millisecond}))
	for vmid := 100; vmid < 106; vmid++ {
		for range 3 {
			b.open(t, vmid, blobPath(i.layerHash)) // the last ones are refused, after Wait
		}
	}
	if got := b.open(t, 200, blobPath(i.configDigest)); got != http.StatusOK {
		t.Errorf("another guest gets %d", got)
	}
	// Its second request, too: an engine asks for several blobs at once.
	held := b.open(t, 200, blobPath(i.layerHash))
	if got := b.open(t, 200, blobPath(i.configDigest)); held != http.StatusOK || got != http.StatusOK {
		t.Errorf("another guest gets %d beside %d", got, held)
	}
}

// smallBuffers keeps the kernel from taking what a guest does not read.
func smallBuffers(t *testing.T, b *bed) {
	t.Helper()
	b.server.CloseClientConnections()
	s := httptest.NewUnstartedServer(b.server.Config.Handler)
	s.Listener = bufferless{s.Listener}
	b.start(t, s)
}

type bufferless struct{ net.Listener }

// Accept implements [net.Listener].
func (l bufferless) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		err = tcp.SetWriteBuffer(64 << 10)
	}
	return c, err
}

// A guest that reads, but hardly anything, does not hold its slot for hours; nor
// does a registry that sends hardly anything.
func TestATrickleEnds(t *testing.T) {
	t.Parallel()
	const size = 8 << 20
	zeros := make([]byte, size)
	digest := digestOf(zeros)
	limits := registryproxy.Limits{Check: 10 * time.Millisecond, Stall: 5 * time.Second, MinRate: 2 << 20}
	run := func(t *testing.T, up *upstream, read func(r io.Reader) error, want string) {
		b := newBed(t, up, withLimits(limits))
		b.allow(registryproxy.Image{Host: up.host, Repository: repository})
		smallBuffers(t, b)
		dialer := &net.Dialer{}
		transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, address)
			if tcp, ok := c.(*net.TCPConn); ok {
				err = tcp.SetReadBuffer(64 << 10)
			}
			return c, err
		}}
		t.Cleanup(transport.CloseIdleConnections)
		resp, err := (&http.Client{Transport: transport}).Get(b.server.URL + blobPath(digest))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		ended := make(chan error, 1)
		go func() { ended <- read(resp.Body) }()
		select {
		case err := <-ended:
			if err == nil {
				t.Error("the stream came to its end")
			}
		case <-time.After(2 * time.Minute):
			t.Fatal("the stream continues")
		}
		if line := waitFor(t, b.lines)[0]; line.Err == nil || !strings.Contains(line.Err.Error(), want) {
			t.Errorf("audit %+v, want %q", line, want)
		}
	}
	t.Run("guest", func(t *testing.T) {
		t.Parallel()
		up := newUpstream(t)
		up.put(repository+"/blobs/"+digest.String(), "", zeros)
		run(t, up, func(r io.Reader) error {
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			buf := make([]byte, 16<<10)
			for range tick.C {
				if _, err := r.Read(buf); err != nil {
					return err
				}
			}
			return nil
		}, "the guest reads")
	})
	t.Run("registry", func(t *testing.T) {
		t.Parallel()
		up := newUpstream(t)
		onBlobs(up, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(size))
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for range tick.C {
				_, err := w.Write(zeros[:512])
				w.(http.Flusher).Flush()
				if err != nil || r.Context().Err() != nil {
					return
				}
			}
		})
		run(t, up, func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }, "the registry sends")
	})
}

// A slow machine is not a trickle: what moves fast enough continues.
func TestASteadyStreamContinues(t *testing.T) {
	t.Parallel()
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	onBlobs(up, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(i.layer)))
		step := len(i.layer)/60 + 1
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for at := 0; at < len(i.layer); at += step {
			<-tick.C
			_, _ = w.Write(i.layer[at:min(at+step, len(i.layer))])
			w.(http.Flusher).Flush()
		}
	})
	b := newBed(t, up, withLimits(registryproxy.Limits{Check: 10 * time.Millisecond, Stall: 4 * time.Second, MinRate: 1 << 10}))
	if got := b.get(t, blobPath(i.layerHash)); got.status != http.StatusOK || !bytes.Equal(got.body, i.layer) {
		t.Errorf("%d, %d bytes, %v; audit %+v", got.status, len(got.body), got.err, b.lines())
	}
}
