//go:build integration

package registry_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"
)

const (
	benchBytes  = 200 << 20
	benchRounds = 5
	benchGuests = 4
)

// BenchmarkBlob compares one large blob from the registry itself, through the
// host, and from the host's cache, in turn, and reports the ratios of the medians.
func BenchmarkBlob(b *testing.B) {
	s := newScene(b, false)
	layer, err := random.Layer(benchBytes, "application/vnd.oci.image.layer.v1.tar")
	if err != nil {
		b.Fatal(err)
	}
	digest, err := layer.Digest()
	if err != nil {
		b.Fatal(err)
	}
	size, err := layer.Size()
	if err != nil {
		b.Fatal(err)
	}
	target, err := name.NewRepository(s.host + "/" + repository)
	if err != nil {
		b.Fatal(err)
	}
	if err := remote.WriteLayer(target, layer, remote.WithTransport(&authorized{trusting(b, s.ca), s.upstream})); err != nil {
		b.Fatal(err)
	}
	path := "/v2/" + repository + "/blobs/" + digest.String()
	s.restart(b, fmt.Sprintf("repositories: [%q]\n", s.host+"/"+repository))
	direct := download{trusting(b, s.ca), "https://" + s.host + path, puller, s.password, size}
	proxied := download{trusting(b, filepath.Join(s.dir, "mounts", s.vmid, "agent.crt")), "https://" + s.agent + path, "guest", s.token(b), size}
	var taken [2][]time.Duration
	for b.Loop() {
		for range benchRounds {
			for i, d := range []download{direct, proxied} {
				taken[i] = append(taken[i], d.measure(b))
			}
		}
	}
	b.ReportMetric(ratio(taken[0], taken[1]), "proxy/direct")
	group := errgroup.Group{}
	for range benchGuests {
		group.Go(proxied.run)
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(s.peakMB(b), "peak-MB")
	s.restart(b, fmt.Sprintf("repositories: [%q]\ncache: {dir: %s/blobs, size: 1GiB}\n", s.host+"/"+repository, s.dir))
	proxied.measure(b) // fills it
	var warm [2][]time.Duration
	for range benchRounds {
		for i, d := range []download{direct, proxied} {
			warm[i] = append(warm[i], d.measure(b))
		}
	}
	b.ReportMetric(ratio(warm[0], warm[1]), "cached/direct")
}

// ratio returns how fast b is against a, of medians.
func ratio(a, b []time.Duration) float64 {
	slices.Sort(a)
	slices.Sort(b)
	return a[len(a)/2].Seconds() / b[len(b)/2].Seconds()
}

type download struct {
	transport      *http.Transport
	url            string
	user, password string
	size           int64
}

func (d download) run() error {
	req, err := http.NewRequest(http.MethodGet, d.url, http.NoBody)
	if err != nil {
		return err
	}
	req.SetBasicAuth(d.user, d.password)
	resp, err := d.transport.RoundTrip(req)
	if err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || n != d.size {
		return fmt.Errorf("%s, %d bytes", resp.Status, n)
	}
	return nil
}

func (d download) measure(b *testing.B) time.Duration {
	b.Helper()
	start := time.Now()
	if err := d.run(); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}

// token returns the guest's own token.
func (s *scene) token(b *testing.B) string {
	b.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, "mounts", s.vmid, "hosts.toml"))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "Bearer ")
	token, _, _ := strings.Cut(rest, `"`)
	return token
}

// restart starts the daemon again with other settings for its proxy.
func (s *scene) restart(b *testing.B, settings string) {
	b.Helper()
	if err := s.daemon.Stop(time.Minute); err != nil {
		b.Fatal(err)
	}
	file := filepath.Join(s.dir, "agentd.yaml")
	data, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	var kept []string
	for line := range strings.Lines(string(data)) {
		if !strings.HasPrefix(line, "cache:") && !strings.HasPrefix(line, "repositories:") {
			kept = append(kept, line)
		}
	}
	write(b, file, strings.Join(kept, "")+settings)
	s.startDaemon(b)
}

// peakMB returns the most memory that the daemon has had.
func (s *scene) peakMB(b testing.TB) float64 {
	b.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", s.daemon.PID()))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && fields[0] == "VmHWM:" {
			kb, err := strconv.Atoi(fields[1])
			if err != nil {
				b.Fatal(err)
			}
			return float64(kb) / 1024
		}
	}
	b.Fatal("the kernel does not say it")
	return 0
}
