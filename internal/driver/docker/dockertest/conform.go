package dockertest

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/driver/docker"
)

// Bed is where the suite runs: an engine, and a registry with the sample
// controller's variants behind a password.
type Bed struct {
	Host               string // unix://PATH
	Username, Password string
	Healthy, Exits     string // references
	Missing            string // reference that the registry does not have
	Address            string // to publish ports on
	Port               string // a free one
	Name               string // prefix of container names, unique
	Label              string // label of every container made, "key=value"
}

// limit bounds one wait for something that an engine does in its own time.
const limit = 30 * time.Second

// Conform runs the suite. Fake and real engine must both pass it.
func Conform(t *testing.T, bed Bed) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c, err := docker.New(bed.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	s := suite{bed: bed, c: c, credential: docker.Credential{Username: bed.Username, Password: bed.Password}}
	if engine, err := c.Connect(ctx); err != nil || !strings.HasPrefix(engine.API, "1.") {
		t.Fatalf("Connect: %+v, %v", engine, err)
	}
	for _, part := range []struct {
		name string
		run  func(context.Context, *testing.T)
	}{
		{"pull", s.pull}, {"side by side", s.sideBySide}, {"image", s.image}, {"lifecycle", s.lifecycle}, {"conflict", s.conflict}, {"port taken", s.portTaken}, {"exits", s.exits}, {"remove image", s.removeImage},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(ctx, t) })
	}
}

type suite struct {
	bed        Bed
	c          *docker.Client
	credential docker.Credential
}

func (s suite) pull(ctx context.Context, t *testing.T) {
	for _, test := range []struct {
		name, ref  string
		credential docker.Credential
		want       docker.Kind
	}{
		{"wrong password", s.bed.Healthy, docker.Credential{Username: s.bed.Username, Password: "wrong"}, docker.Credential401},
		{"no credential", s.bed.Healthy, docker.Credential{}, docker.NoCredential},
		{"unknown tag", s.bed.Missing, s.credential, docker.UnknownImage},
	} {
		err := s.c.Pull(ctx, test.ref, test.credential, nil)
		if err == nil || docker.KindOf(err) != test.want {
			t.Errorf("%s: %v is %q, want %q", test.name, err, docker.KindOf(err), test.want)
		}
		if err != nil && test.credential.Password != "" && strings.Contains(err.Error(), test.credential.Password) && test.credential.Password != "wrong" {
			t.Errorf("%s: the error holds the password", test.name)
		}
	}
	for _, ref := range []string{s.bed.Healthy, s.bed.Exits} {
		if err := s.c.Pull(ctx, ref, s.credential, nil); err != nil {
			t.Fatalf("pull %s: %v", ref, err)
		}
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.c.Pull(ended, s.bed.Healthy, s.credential, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("pull with an ended context: %v, want context.Canceled", err)
	}
}

func (s suite) image(ctx context.Context, t *testing.T) {
	img, err := s.c.Image(ctx, s.bed.Healthy)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(img.ID, "sha256:") || img.OS != "linux" || img.Architecture != runtime.GOARCH || img.Health == nil || len(img.Manifests) == 0 {
		t.Errorf("image %+v", img)
	}
	if byID, err := s.c.Image(ctx, img.ID); err != nil || byID.ID != img.ID {
		t.Errorf("by its ID: %+v, %v", byID, err)
	}
	if _, err := s.c.Image(ctx, s.bed.Missing); !errors.Is(err, docker.ErrNotFound) {
		t.Errorf("an image that is not there: %v, want ErrNotFound", err)
	}
	alias := s.bed.Missing // no registry has it, so the name is free
	if err := s.c.Tag(ctx, s.bed.Healthy, alias); err != nil {
		t.Fatal(err)
	}
	if tagged, err := s.c.Image(ctx, alias); err != nil || tagged.ID != img.ID {
		t.Errorf("tagged: %+v, %v", tagged, err)
	}
}

// sideBySide asks while another goroutine connects, and asks with an ended
// context: a request on the wire would hide from the race detector what the two
// share.
func (s suite) sideBySide(ctx context.Context, t *testing.T) {
	c, err := docker.New(s.bed.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	ended, cancel := context.WithCancel(ctx)
	cancel()
	connected := make(chan error, 1)
	go func() {
		_, err := c.Connect(ctx)
		connected <- err
	}()
	for {
		select {
		case err := <-connected:
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Image(ctx, s.bed.Healthy); err != nil {
				t.Error(err)
			}
			return
		default:
			if _, err := c.Image(ended, s.bed.Healthy); !errors.Is(err, context.Canceled) {
				t.Fatalf("Image with an ended context: %v, want context.Canceled", err)
			}
		}
	}
}

func (s suite) spec(name, image string) docker.Spec {
	key, value, _ := strings.Cut(s.bed.Label, "=")
	return docker.Spec{Name: s.bed.Name + name, Image: image, Labels: map[string]string{key: value}}
}

func (s suite) create(ctx context.Context, t *testing.T, spec docker.Spec) string {
	t.Helper()
	id, err := s.c.Create(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		if err := s.c.Remove(ctx, id); err != nil {
			t.Error(err)
		}
	})
	return id
}

func (s suite) status(ctx context.Context, t *testing.T, id string) docker.Container {
	t.Helper()
	c, err := s.c.Container(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s suite) lifecycle(ctx context.Context, t *testing.T) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := s.c.Watch(ctx, s.bed.Label)
	spec := s.spec("life", s.bed.Healthy)
	spec.Health = &docker.Health{Interval: time.Second, StartPeriod: 30 * time.Second, StartInterval: 200 * time.Millisecond}
	id := s.create(ctx, t, spec)
	made := s.status(ctx, t, id)
	if made.Status != "created" || made.Name != spec.Name || made.Image != s.bed.Healthy || len(made.Labels) == 0 || !made.StartedAt.Before(time.Now().Add(-time.Hour)) {
		t.Errorf("created: %+v", made)
	}
	for range 2 { // starting a running container succeeds
		if err := s.c.Start(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	if got := await(ctx, t, events, id, "start", "healthy"); !slices.Equal(got, []string{"start", "healthy"}) {
		t.Errorf("events %q", got)
	}
	up := s.status(ctx, t, id)
	if up.Status != "running" || up.Health != "healthy" || time.Since(up.StartedAt) > time.Minute {
		t.Errorf("running: %+v", up)
	}
	if text, err := s.c.Logs(ctx, id, 5); err != nil || !strings.Contains(text, "starts\n") || strings.ContainsRune(text, 0) {
		t.Errorf("log %q, %v", text, err)
	}
	if err := s.c.Rename(ctx, id, spec.Name+"2"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.c.Container(ctx, spec.Name); !errors.Is(err, docker.ErrNotFound) {
		t.Errorf("under its old name: %v, want ErrNotFound", err)
	}
	if err := s.c.Restart(ctx, id, time.Second); err != nil {
		t.Fatal(err)
	}
	if again := s.status(ctx, t, id); !again.StartedAt.After(up.StartedAt) {
		t.Errorf("after a restart started at %s, before at %s", again.StartedAt, up.StartedAt)
	}
	if err := s.c.Stop(ctx, id, time.Second); err != nil {
		t.Fatal(err)
	}
	if down := s.status(ctx, t, id); down.Status != "exited" {
		t.Errorf("stopped: %+v", down)
	}
	for range 2 { // removing what is gone succeeds
		if err := s.c.Remove(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
}

func (s suite) conflict(ctx context.Context, t *testing.T) {
	s.create(ctx, t, s.spec("same", s.bed.Healthy))
	_, err := s.c.Create(ctx, s.spec("same", s.bed.Healthy))
	if docker.KindOf(err) != docker.NameTaken {
		t.Errorf("second of that name: %v is %q, want %q", err, docker.KindOf(err), docker.NameTaken)
	}
}

func (s suite) portTaken(ctx context.Context, t *testing.T) {
	first, second := s.spec("port1", s.bed.Healthy), s.spec("port2", s.bed.Healthy)
	first.Ports = []string{s.bed.Address + ":" + s.bed.Port + ":8080"}
	second.Ports = first.Ports
	if err := s.c.Start(ctx, s.create(ctx, t, first)); err != nil {
		t.Fatal(err)
	}
	id := s.create(ctx, t, second)
	if err := s.c.Start(ctx, id); docker.KindOf(err) != docker.PortTaken {
		t.Errorf("second on that port: %v is %q, want %q", err, docker.KindOf(err), docker.PortTaken)
	}
	if left := s.status(ctx, t, id); left.Status != "created" {
		t.Errorf("it is %q, want created", left.Status)
	}
}

func (s suite) exits(ctx context.Context, t *testing.T) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := s.c.Watch(ctx, s.bed.Label)
	id := s.create(ctx, t, s.spec("exits", s.bed.Exits))
	if err := s.c.Start(ctx, id); err != nil {
		t.Fatal(err)
	}
	got := await(ctx, t, events, id, "start", "die", "start", "die")
	if !slices.Equal(got, []string{"start", "die 3", "start", "die 3"}) {
		t.Errorf("events %q, want it to be restarted after exit code 3", got)
	}
}

// removeImage is last: no other part needs the image.
func (s suite) removeImage(ctx context.Context, t *testing.T) {
	img, err := s.c.Image(ctx, s.bed.Exits)
	if err != nil {
		t.Fatal(err)
	}
	id := s.create(ctx, t, s.spec("uses", s.bed.Exits))
	if err := s.c.RemoveImage(ctx, img.ID, s.bed.Exits); err == nil || errors.Is(err, docker.ErrNotFound) {
		t.Errorf("an image that a container uses: %v, want a refusal", err)
	}
	if err := s.c.Remove(ctx, id); err != nil {
		t.Fatal(err)
	}
	if err := s.c.RemoveImage(ctx, img.ID, "registry.example/other/name:1"); err != nil {
		t.Errorf("with a name that it does not have: %v", err)
	}
	if _, err := s.c.Image(ctx, s.bed.Exits); err != nil {
		t.Errorf("then: %v, want it to be there", err)
	}
	if err := s.c.RemoveImage(ctx, img.ID, s.bed.Exits); err != nil {
		t.Error(err)
	}
	if _, err := s.c.Image(ctx, s.bed.Exits); !errors.Is(err, docker.ErrNotFound) {
		t.Errorf("after its removal: %v, want ErrNotFound", err)
	}
	if err := s.c.RemoveImage(ctx, img.ID, s.bed.Exits); !errors.Is(err, docker.ErrNotFound) {
		t.Errorf("once more: %v, want ErrNotFound", err)
	}
}

// await collects the container's events until those that were asked for came, in
// number, leaving out the health test's words on a container that ends.
func await(ctx context.Context, t *testing.T, events <-chan docker.Event, id string, want ...string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var got []string
	for len(got) < len(want) {
		select {
		case e, ok := <-events:
			if !ok {
				t.Fatalf("events ended after %q", got)
			}
			switch {
			case e.Container != id, e.Action == "unhealthy":
			case e.Action == "die":
				got = append(got, "die "+string(rune('0'+e.ExitCode)))
			default:
				got = append(got, e.Action)
			}
		case <-ctx.Done():
			t.Fatalf("events %q, want %q", got, want)
		}
	}
	return got
}
