package image_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/golden/internal/image"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// archive writes files, and links where the text begins with "-> ", with
// archive/tar, so that none of our code is trusted.
func archive(members ...[2]string) *bytes.Buffer {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: "./" + m[0], Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(m[1])), Format: tar.FormatPAX}
		if target, ok := strings.CutPrefix(m[1], "-> "); ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, target, 0
		}
		err := w.WriteHeader(h)
		if h.Size > 0 {
			_, werr := io.WriteString(w, m[1])
			err = errors.Join(err, werr)
		}
		if err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return &b
}

func read(t *testing.T, opts image.Options, members ...[2]string) *image.Image {
	t.Helper()
	opts.MaxBytes = 1 << 20
	img, err := image.Read(t.Context(), archive(members...), opts)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func ExampleRead() {
	tarball := archive(
		[2]string{"etc/vzdump/pct.conf", "hostname: golden\n"},
		[2]string{"usr/lib/os-release", "ID=debian\n"},
		[2]string{"usr/lib/systemd/system/docker.service", "[Install]\nWantedBy=multi-user.target\n"},
	)
	img, err := image.Read(context.Background(), tarball, image.Options{MaxBytes: 1 << 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	config, _ := img.Config()
	name, _ := config.Get("hostname")
	fmt.Println(name, img.OSRelease()["ID"], len(img.Entries), img.Units().States())
	// Output: golden debian 3 [{docker.service disabled}]
}

func TestLookup(t *testing.T) {
	img := read(t, image.Options{}, [2]string{"usr/bin/sh", "x"}, [2]string{"bin", "-> usr/bin"}, [2]string{"a", "-> /bin/../bin/sh"}, [2]string{"loop", "-> loop"}, [2]string{"gone", "-> nowhere"})
	for name, want := range map[string]string{"bin/sh": "usr/bin/sh", "/a": "usr/bin/sh", "a/../../../usr/bin/sh": "usr/bin/sh", "gone": "nowhere", "loop": "loop", "usr/bin": "usr/bin"} {
		e, at := img.Lookup(name)
		if at != want || (e != nil) != (want == "usr/bin/sh") {
			t.Errorf("%s: got %+v at %s, want %s", name, e, at, want)
		}
	}
}

// TestParseUnit holds the reader against what systemd does.
func TestParseUnit(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"values", "[Service]\nExecStart=/a b\nExecStart = /c\n", []string{"/a b", "/c"}},
		{"reset", "[Service]\nExecStart=/a\nExecStart=\nExecStart=/b\n", []string{"/b"}},
		{"continued", "[Service]\nExecStart=/a \\\n  b \\\n c\n", []string{"/a    b   c"}},
		{"comment in a continued line", "[Service]\nExecStart=/a \\\n# x\n b\n", []string{"/a   b"}},
		{"comment that seems to continue", "[Service]\n# x \\\nExecStart=/a\n", []string{"/a"}},
		{"indented comment", "[Service]\n ;ExecStart=/x \\\nExecStart=/a\n", []string{"/a"}},
		{"other section", "[Unit]\nExecStart=/x\n[Service]\nExecStart=/a\n", []string{"/a"}},
		{"long line", "[Service]\nExecStart=/a " + strings.Repeat("bc  \\d", 2000) + "\n", []string{"/a " + strings.Repeat("bc  \\d", 2000)}},
		{"long words, continued", "[Service]\nExecStart=/a " + strings.Repeat(strings.Repeat("b", 2999)+"\\\n", 3) + "\n", []string{"/a " + strings.TrimSpace(strings.Repeat(strings.Repeat("b", 2999)+" ", 3))}},
		{"section twice", "[Service]\nExecStart=/a\n[Unit]\n[Service]\nExecStart=/b\n", []string{"/a", "/b"}},
		{"no newline at the end", "[Service]\nExecStart=/a", []string{"/a"}},
		{"no section", "ExecStart=/a\n", nil},
	} {
		f := image.ParseUnit(c.text)
		var got []string
		for _, v := range f.All("Service", "ExecStart") {
			got = append(got, strings.Join(strings.Fields(v), " "))
		}
		for i := range c.want {
			c.want[i] = strings.Join(strings.Fields(c.want[i]), " ")
		}
		if d := cmp.Diff(c.want, got); d != "" || f.Err != nil {
			t.Errorf("%s: error %v, want -, got +:\n%s", c.name, f.Err, d)
		}
	}
	for _, text := range []string{"[Service]\nExecStart\n", "[Service\n", "[Service] x\n"} {
		if f := image.ParseUnit(text); f.Err == nil {
			t.Errorf("%.40q: want an error", text)
		}
	}
}

func TestProgramOfAUnit(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"ExecStart=/usr/bin/a --b", "/usr/bin/a"},
		{"ExecStart=-@:+!|/usr/bin/a shown", "/usr/bin/a"},
		{"ExecStart='/usr/bin/a b' c", "/usr/bin/a b"},
		{"ExecStart=/usr/bin/a\nExecStart=\nExecStart=/b", "/b"},
		{"ExecStart=-", ""},
		{"ExecStop=/usr/bin/a", ""},
		{"[Unit]\nExecStart=/usr/bin/a", ""},
		{"Type=exec\nExecStart=\\\n/usr/bin/a", "/usr/bin/a"},
	} {
		if got := image.ParseUnit("[Service]\n" + c.text + "\n").Program(); got != c.want {
			t.Errorf("%q: got %q, want %q", c.text, got, c.want)
		}
	}
}

func TestUnits(t *testing.T) {
	const vendor, admin = "usr/lib/systemd/system/", "etc/systemd/system/"
	img := read(t, image.Options{},
		[2]string{admin + "multi-user.target.wants/on.service", "-> /" + vendor + "on.service"},
		[2]string{admin + "alias.service", "-> /" + vendor + "real.service"},
		[2]string{admin + "masked.service", "-> /dev/null"},
		[2]string{admin + "on.service.d/10.conf", "[Service]\nExecStart=\nExecStart=/b\n"},
		[2]string{admin + "sub/on.service.d/10.conf", "[Service]\nExecStart=/no\n"},
		[2]string{vendor + "on.service", "[Service]\nExecStart=/a\n[Install]\nWantedBy=multi-user.target\n"},
		[2]string{vendor + "real.service", "[Service]\n"}, [2]string{vendor + "masked.service", "[Service]\n"}, [2]string{vendor + "empty.service", ""},
		[2]string{vendor + "tty@.service", "[Service]\n"},
		[2]string{"etc/systemd/system-preset/10-a.preset", "# x\nenable on.*\n"}, [2]string{"usr/lib/systemd/system-preset/10-a.preset", "disable *\n"},
	)
	u := img.Units()
	if d := cmp.Diff([]string{"/b"}, u.Load("on.service").All("Service", "ExecStart")); d != "" {
		t.Errorf("drop-in: want -, got +:\n%s", d)
	}
	want := []image.State{
		{Name: "alias.service", State: "alias"},
		{Name: "empty.service", State: "masked"},
		{Name: "masked.service", State: "masked"},
		{Name: "on.service", State: "enabled"},
		{Name: "real.service", State: "enabled"},
		{Name: "tty@.service", State: "static"},
	}
	if d := cmp.Diff(want, u.States()); d != "" {
		t.Errorf("states: want -, got +:\n%s", d)
	}
	for name, want := range map[string]string{"tty@1.service": vendor + "tty@.service", "alias.service": vendor + "real.service", "gone.service": ""} {
		if e, masked := u.Find(name); masked || (e == nil) != (want == "") || e != nil && e.Path != want {
			t.Errorf("%s: got %+v, masked %v, want %q", name, e, masked, want)
		}
	}
	all, _ := u.Presets()
	if p := image.PresetFor(all, "on.service"); !p.Enable || p.From != "10-a.preset" {
		t.Errorf("preset: got %+v, want the administrator's file", p)
	}
}

func TestLimits(t *testing.T) {
	large := [2]string{"var/lib/dpkg/status", strings.Repeat("x", 9<<20)}
	img, err := image.Read(t.Context(), archive(large), image.Options{MaxBytes: 64 << 20})
	if err != nil || len(img.Skipped) != 1 || len(img.Content) != 0 {
		t.Errorf("large file: error %v, image %+v, want it skipped", err, img)
	}
	for _, opts := range []image.Options{
		{MaxBytes: 100},
		{MaxBytes: 4 << 10, Keep: func(string, int64) bool { return true }},
		{MaxBytes: 4 << 10, Visit: func(*image.Entry, []byte, io.Reader) (int64, error) { return 5000, nil }},
		{MaxBytes: 4 << 10, Count: func(*vzdump.Entry) int64 { return 5000 }},
	} {
		if _, err := image.Read(t.Context(), archive([2]string{"a", strings.Repeat("x", 5000)}), opts); !errors.Is(err, vzdump.ErrLimit) {
			t.Errorf("%+v: got %v, want a limit", opts, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("stop")
	cancel(cause)
	if _, err := image.Read(ctx, archive(), image.Options{MaxBytes: 1}); !errors.Is(err, cause) {
		t.Errorf("got %v, want the cause of the context", err)
	}
}
