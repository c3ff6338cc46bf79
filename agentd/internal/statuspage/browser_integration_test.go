//go:build integration

package statuspage_test

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/png"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/overview"
	"github.com/felhom/felhom-golden/agentd/internal/statuspage"
)

// browserTime is how long one start of the browser may take on a busy machine.
const browserTime = 3 * time.Minute

// browse runs a headless Chromium once, and returns what it writes to stdout.
func browse(t *testing.T, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), browserTime)
	defer cancel()
	// The tests run as root, where Chromium has no sandbox.
	cmd := exec.CommandContext(ctx, "chromium", append([]string{
		"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--hide-scrollbars", "--user-data-dir=" + t.TempDir(),
	}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%.4000s", cmd, err, stderr.String())
	}
	return out
}

// The pages in a real browser: hostile texts do not act, and each of its two
// schemes of colours is used. SCREENSHOTS=DIR keeps the pictures for docs.
func TestInChromium(t *testing.T) {
	server := httptest.NewServer(statuspage.New(sample()))
	defer server.Close()
	for path, title := range map[string]string{"/status": "Guests - pve1", "/status/guests/8201": "Guest 8201 - pve1"} {
		dom := string(browse(t, "--dump-dom", server.URL+path))
		if !strings.Contains(dom, "<title>"+title+"</title>") || !strings.Contains(dom, "owned") || strings.Contains(dom, `<img src="x"`) {
			t.Errorf("%s: the page is not as it was made:\n%.3000s", path, dom)
		}
	}
	calm := httptest.NewServer(statuspage.New(ordinary()))
	defer calm.Close()
	for _, c := range []struct {
		name, path string
		flags      []string
		page       color.RGBA // the background's colour
	}{
		{"status-light", "/status", nil, color.RGBA{0xff, 0xff, 0xff, 0xff}},
		{"status-dark", "/status", []string{"--force-dark-mode"}, color.RGBA{0x0d, 0x11, 0x17, 0xff}},
		{"guest-light", "/status/guests/8200", nil, color.RGBA{0xff, 0xff, 0xff, 0xff}},
	} {
		file := filepath.Join(t.TempDir(), c.name+".png")
		browse(t, append(c.flags, "--screenshot="+file, "--window-size=1100,720", calm.URL+c.path)...)
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		picture, err := png.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if got := color.RGBAModel.Convert(picture.At(1, 1)); got != c.page {
			t.Errorf("%s: the page's colour is %v, want %v", c.name, got, c.page)
		}
		if n := colours(picture); n < 20 {
			t.Errorf("%s: %d colours: the page looks empty", c.name, n)
		}
		if dir := os.Getenv("SCREENSHOTS"); dir != "" {
			if err := os.WriteFile(filepath.Join(dir, c.name+".png"), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// ordinary is the sample with the failure of an ordinary guest in place of the
// hostile one.
func ordinary() statuspage.Options {
	o := sample()
	o.Rows = func(ctx context.Context) ([]overview.Row, map[string]error, error) {
		rows, _, err := sample().Rows(ctx)
		rows[1] = overview.Row{
			Guest: 8201, Name: "db", State: "running", Image: "registry.example/team/db:17", Controller: overview.Failed, Class: "registry_auth", Address: "192.0.2.21",
			Since: began, Step: "image", Message: "registry.example: pull access denied for team/db:17", Hint: "check the credential: felhom-agentd registry check registry.example",
		}
		for i := range rows {
			rows[i].Name = []string{"web", "db", "mail", "old", "new"}[i]
		}
		return rows, nil, err
	}
	return o
}

func colours(p image.Image) int {
	seen := map[color.Color]bool{}
	for y := p.Bounds().Min.Y; y < p.Bounds().Max.Y; y++ {
		for x := p.Bounds().Min.X; x < p.Bounds().Max.X; x++ {
			seen[p.At(x, y)] = true
		}
	}
	return len(seen)
}
