package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/docker/docker/client"
)

// loading is an engine that does nothing but load, without a network.
type loading func(ctx context.Context, archive io.Reader, answer io.Writer) error

// RoundTrip implements [http.RoundTripper].
func (l loading) RoundTrip(r *http.Request) (*http.Response, error) {
	from, to := io.Pipe()
	started := make(chan struct{})
	go func() {
		err := l(r.Context(), r.Body, &firstWrite{to, started})
		_ = to.CloseWithError(errors.Join(err, r.Context().Err())) // it never fails
	}()
	select {
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case <-started:
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: from, Request: r}, nil
	}
}

// firstWrite begins the answer, as the headers do.
type firstWrite struct {
	io.Writer
	started chan struct{}
}

// Write implements [io.Writer].
func (w *firstWrite) Write(p []byte) (int, error) {
	if w.started != nil {
		close(w.started)
		w.started = nil
	}
	return w.Writer.Write(p)
}

// TestALoadIsEndedOnlyIfNothingMoves: engines are silent while they unpack. The clock is not the real one.
func TestALoadIsEndedOnlyIfNothingMoves(t *testing.T) {
	const loaded = `{"stream":"Loaded image: app:1\n"}`
	const layer = `{"id":"aa","status":"Loading layer","progressDetail":{"current":%d,"total":99}}`
	pause := func(ctx context.Context, d time.Duration) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(d):
			return nil
		}
	}
	for name, test := range map[string]struct {
		size   int64
		engine loading
		want   Kind          // "": it is loaded
		after  time.Duration // not before
	}{
		"unpacked without a word": {1 << 20, func(ctx context.Context, archive io.Reader, answer io.Writer) error {
			if _, err := io.Copy(io.Discard, archive); err != nil {
				return err
			}
			err := pause(ctx, 19*time.Minute)
			_, _ = io.WriteString(answer, loaded)
			return err
		}, "", 19 * time.Minute},
		"two gigabytes on a slow disk": {2 << 30, func(ctx context.Context, _ io.Reader, answer io.Writer) error {
			err := pause(ctx, 50*time.Minute)
			_, _ = io.WriteString(answer, loaded)
			return err
		}, "", 50 * time.Minute},
		"taken slowly": {20, func(ctx context.Context, archive io.Reader, answer io.Writer) error {
			for {
				_, err := archive.Read(make([]byte, 1))
				if errors.Is(err, io.EOF) {
					break
				}
				if err := errors.Join(err, pause(ctx, 15*time.Minute)); err != nil {
					return err
				}
			}
			_, _ = io.WriteString(answer, loaded)
			return nil
		}, "", 5 * time.Hour},
		"unpacked slowly": {20, func(ctx context.Context, _ io.Reader, answer io.Writer) error {
			for i := range 20 {
				_, _ = fmt.Fprintf(answer, layer, i)
				if err := pause(ctx, 15*time.Minute); err != nil {
					return err
				}
			}
			_, _ = io.WriteString(answer, loaded)
			return nil
		}, "", 5 * time.Hour},
		"nothing is taken": {20, func(ctx context.Context, _ io.Reader, _ io.Writer) error {
			<-ctx.Done()
			return nil
		}, Timeout, 20 * time.Minute},
		"halted in the middle": {20, func(ctx context.Context, _ io.Reader, answer io.Writer) error {
			for ctx.Err() == nil { // the same counter again and again
				_, _ = fmt.Fprintf(answer, layer, 7)
				_ = pause(ctx, time.Minute) // see above
			}
			return nil
		}, Timeout, 20 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.tar")
			if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, test.size)); err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				c, err := New("tcp://engine.invalid:1")
				if err != nil {
					t.Fatal(err)
				}
				api, err := client.NewClientWithOpts(client.WithHTTPClient(&http.Client{Transport: test.engine}), client.WithTraceProvider(noTrace()))
				if err != nil {
					t.Fatal(err)
				}
				c.current.Store(api)
				began := time.Now()
				names, err := c.Load(t.Context(), path)
				took := time.Since(began)
				switch {
				case test.want == "" && (err != nil || len(names) != 1 || names[0] != "app:1"):
					t.Errorf("after %v: got %v, %v, want app:1", took, names, err)
				case test.want != "" && (KindOf(err) != test.want || KindOf(err).Verdict() != Retry):
					t.Errorf("after %v: got %v of kind %s, want %s, which is tried again", took, err, KindOf(err), test.want)
				}
				if took < test.after || took > test.after+10*time.Minute {
					t.Errorf("it took %v, want %v", took, test.after)
				}
			})
		})
	}
}
