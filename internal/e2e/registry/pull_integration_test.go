//go:build integration

package registry_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/felhom/felhom-golden/internal/contract"
)

const (
	pullBytes  = 100 << 20
	pullRounds = 5
)

// BenchmarkPull compares whole pulls by the bed's engine, from the registry itself
// and through the host, without and with the host's cache; and the first run of a
// guest that pulls its image with one that has it preloaded.
func BenchmarkPull(b *testing.B) {
	s := newScene(b, false)
	s.pushLarge(b, pullBytes)
	repositories := fmt.Sprintf("repositories: [%q]\n", s.host+"/"+repository)
	s.restart(b, repositories)
	pulled := s.firstRun(b) // it makes the links into the mount as well
	defer s.attach(b)()
	engine := s.bed.Engine(b)
	agent, own := s.agent+"/"+repository+":v1", s.host+"/"+repository+":v1"
	hosts := filepath.Join(s.root, certs, s.host)
	link := filepath.Join(hosts, contract.RegistryHostsFile)
	_, err := os.Lstat(link)
	readsHostsFile := err == nil
	pull := func(reference, user, password string) time.Duration {
		b.Helper()
		start := time.Now()
		if err := engine.Pull(b.Context(), reference, user, password); err != nil {
			b.Fatal(err)
		}
		took := time.Since(start)
		if err := engine.RemoveImage(b.Context(), reference); err != nil {
			b.Fatal(err)
		}
		return took
	}
	direct := func() time.Duration {
		b.Helper()
		_ = os.Remove(link) // the image's own registry is asked without it
		if err := os.MkdirAll(hosts, 0o755); err != nil {
			b.Fatal(err)
		}
		authority, err := os.ReadFile(s.ca)
		if err != nil {
			b.Fatal(err)
		}
		write(b, filepath.Join(hosts, "ca.crt"), string(authority))
		defer func() { _ = os.Remove(filepath.Join(hosts, "ca.crt")) }() // a leftover shows in the next pull
		return pull(own, puller, s.password)
	}
	proxied := func() time.Duration {
		b.Helper()
		if !readsHostsFile {
			return pull(agent, "guest-"+s.vmid, s.token(b))
		}
		_ = os.Remove(link)
		if err := os.Symlink(filepath.Join(s.root, "etc/felhom-bootstrap", contract.RegistryHostsFile), link); err != nil {
			b.Fatal(err)
		}
		return pull(own, "", "")
	}
	compare := func() float64 {
		b.Helper()
		var taken [2][]time.Duration
		for range pullRounds {
			taken[0] = append(taken[0], direct())
			taken[1] = append(taken[1], proxied())
		}
		return 1 / ratio(taken[0], taken[1])
	}
	for b.Loop() {
		b.ReportMetric(compare(), "proxy/direct-time")
	}
	s.restart(b, repositories+fmt.Sprintf("cache: {dir: %s/blobs, size: 1GiB}\n", s.dir))
	proxied() // the first guest fills it
	b.ReportMetric(compare(), "second-guest/direct-time")
	s.preload(b)
	b.ReportMetric(s.firstRun(b).Seconds()/pulled.Seconds(), "preloaded/pulled-time")
}

// firstRun runs the bootstrapper in a guest whose engine has neither image nor
// container, and returns how long it took. Nothing of it is left.
func (s *scene) firstRun(b *testing.B) time.Duration {
	b.Helper()
	start := time.Now()
	if out, err := s.apply(b); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	took := time.Since(start)
	s.forget(b)
	return took
}

// preload lays the upstream's image into the guest, as a golden image has it.
func (s *scene) preload(b *testing.B) {
	b.Helper()
	ref, err := name.NewTag(s.host + "/" + repository + ":v1")
	if err != nil {
		b.Fatal(err)
	}
	image, err := remote.Image(ref, remote.WithTransport(&authorized{trusting(b, s.ca), s.upstream}))
	if err != nil {
		b.Fatal(err)
	}
	dir := filepath.Join(s.root, "usr/lib/felhom/images")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	if err := tarball.WriteToFile(filepath.Join(dir, "image.tar"), ref, image); err != nil {
		b.Fatal(err)
	}
	entry := contract.PreloadImage{File: "image.tar"}
	if entry.Reference, err = contract.ParseImageRef(ref.String()); err != nil {
		b.Fatal(err)
	}
	config, err := image.ConfigName()
	if err != nil {
		b.Fatal(err)
	}
	if entry.ConfigDigest, err = contract.ParseDigest(config.String()); err != nil {
		b.Fatal(err)
	}
	index, err := contract.Preload{Images: []contract.PreloadImage{entry}}.Encode()
	if err != nil {
		b.Fatal(err)
	}
	write(b, filepath.Join(dir, contract.PreloadIndex), string(index))
}
