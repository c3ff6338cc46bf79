package docker

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestHungEngineEndsNoRunForEver has an engine accept each request and answer none.
func TestHungEngineEndsNoRunForEver(t *testing.T) {
	hung := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hung }))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(hung) }) // before the server waits for its requests
	c, err := New("tcp://" + server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	c.limit = 50 * time.Millisecond
	const id = "0123"
	for name, ask := range map[string]func(context.Context) error{
		"Container":   func(ctx context.Context) error { _, err := c.Container(ctx, id); return err },
		"Create":      func(ctx context.Context) error { _, err := c.Create(ctx, Spec{Name: "c", Image: "i"}); return err },
		"Start":       func(ctx context.Context) error { return c.Start(ctx, id) },
		"Stop":        func(ctx context.Context) error { return c.Stop(ctx, id, time.Second) },
		"Restart":     func(ctx context.Context) error { return c.Restart(ctx, id, time.Second) },
		"Remove":      func(ctx context.Context) error { return c.Remove(ctx, id) },
		"Rename":      func(ctx context.Context) error { return c.Rename(ctx, id, "c") },
		"Logs":        func(ctx context.Context) error { _, err := c.Logs(ctx, id, 1); return err },
		"Image":       func(ctx context.Context) error { _, err := c.Image(ctx, id); return err },
		"Tag":         func(ctx context.Context) error { return c.Tag(ctx, "registry.example/a:1", "registry.example/b:1") },
		"RemoveImage": func(ctx context.Context) error { return c.RemoveImage(ctx, id, "registry.example/a:1") },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := ask(ctx); KindOf(err) != Timeout || ctx.Err() != nil {
				t.Errorf("got %v of kind %s, want %s of its own", err, KindOf(err), Timeout)
			}
		})
	}
}
