package docker

import (
	"cmp"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

// hungClient returns a client of an engine that accepts each request and answers none.
func hungClient(t *testing.T) *Client {
	t.Helper()
	hung := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hung }))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(hung) }) // before the server waits for its requests
	c, err := New("tcp://" + server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	c.limit, c.stall = 50*time.Millisecond, 5*time.Millisecond
	c.received = func() (int64, error) { return 0, nil }
	return c
}

func TestHungEngineEndsNoRunForEver(t *testing.T) {
	c := hungClient(t)
	archive := filepath.Join(t.TempDir(), "a.tar")
	if err := os.WriteFile(archive, []byte("archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	const id = "0123"
	kinds := map[string]Kind{"Pull": Stalled} // of the others: Timeout
	asks := map[string]func(context.Context) error{
		"Connect":        func(ctx context.Context) error { _, err := c.Connect(ctx); return err },
		"Subnets":        func(ctx context.Context) error { _, err := c.Subnets(ctx); return err },
		"ImageRoots":     func(ctx context.Context) error { _, err := c.ImageRoots(ctx); return err },
		"ReadsHostsFile": func(ctx context.Context) error { _, err := c.ReadsHostsFile(ctx); return err },
		"Load":           func(ctx context.Context) error { _, err := c.Load(ctx, archive); return err },
		"Pull":           func(ctx context.Context) error { return c.Pull(ctx, "registry.example/a:1", Credential{}, nil) },
		"Container":      func(ctx context.Context) error { _, err := c.Container(ctx, id); return err },
		"Create":         func(ctx context.Context) error { _, err := c.Create(ctx, Spec{Name: "c", Image: "i"}); return err },
		"Start":          func(ctx context.Context) error { return c.Start(ctx, id) },
		"Stop":           func(ctx context.Context) error { return c.Stop(ctx, id, time.Second) },
		"Restart":        func(ctx context.Context) error { return c.Restart(ctx, id, time.Second) },
		"Remove":         func(ctx context.Context) error { return c.Remove(ctx, id) },
		"Rename":         func(ctx context.Context) error { return c.Rename(ctx, id, "c") },
		"Logs":           func(ctx context.Context) error { _, err := c.Logs(ctx, id, 1); return err },
		"Image":          func(ctx context.Context) error { _, err := c.Image(ctx, id); return err },
		"Tag":            func(ctx context.Context) error { return c.Tag(ctx, "registry.example/a:1", "registry.example/b:1") },
		"RemoveImage":    func(ctx context.Context) error { return c.RemoveImage(ctx, id, "registry.example/a:1") },
	}
	for name, ask := range asks {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			want := cmp.Or(kinds[name], Timeout)
			if err := ask(ctx); KindOf(err) != want || ctx.Err() != nil {
				t.Errorf("got %v of kind %s, want %s of its own", err, KindOf(err), want)
			}
		})
	}
	without := map[string]string{
		"Close": "asks nothing", "KnowsStartInterval": "asks nothing",
		"ReachesDirectly": "has no error", "Watch": "has no error", // see below
	}
	for method := range reflect.TypeFor[*Client]().Methods() {
		if asks[method.Name] == nil && without[method.Name] == "" {
			t.Errorf("%s: not known to end", method.Name)
		}
	}
}

func TestHungEngineIsNotWatchedForEver(t *testing.T) {
	c := hungClient(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if event, isOpen := <-c.Watch(ctx, "a"); isOpen || ctx.Err() != nil {
		t.Errorf("got %+v, want a closed channel before the caller's limit (%v)", event, ctx.Err())
	}
	if c.ReachesDirectly(ctx, "registry.example") || ctx.Err() != nil {
		t.Errorf("what is not known counts as reached, or took until the caller's limit (%v)", ctx.Err())
	}
}
