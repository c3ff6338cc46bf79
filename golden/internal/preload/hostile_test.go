package preload

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/felhom/felhom-golden/internal/fault"
)

// member is one of a tar archive that a test writes.
type member struct {
	name, content, link string
	sparse              int64 // its size, all of it a hole; 0: it is not sparse
}

func tarOf(t testing.TB, list ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, m := range list {
		h := &tar.Header{Name: m.name, Mode: 0o644, Size: int64(len(m.content)), Typeflag: tar.TypeReg, Linkname: m.link}
		if m.link != "" {
			h.Typeflag = tar.TypeSymlink
		}
		content := m.content
		if m.sparse > 0 { // GNU's form 1.0: a map of no pieces, then nothing
			content = "0\n" + strings.Repeat("\x00", 510)
			h.Size = int64(len(content))
		}
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// sparse returns an archive with a member that is a hole of size bytes. The package
// archive/tar writes no such member: its extended header is written as a file's content.
func sparse(t testing.TB, name string, size int64) []byte {
	t.Helper()
	record := func(key, value string) string {
		text := " " + key + "=" + value + "\n"
		n := len(text)
		for len(fmt.Sprint(n))+len(text) != n {
			n++
		}
		return fmt.Sprint(n) + text
	}
	extended := record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0") + record("GNU.sparse.name", name) + record("GNU.sparse.realsize", fmt.Sprint(size))
	archive := tarOf(t, member{name: "PaxHeaders.0/x", content: extended}, member{name: name, sparse: size})
	archive[156] = 'x'
	sum := 0
	copy(archive[148:156], "        ")
	for _, b := range archive[:512] {
		sum += int(b)
	}
	copy(archive[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return archive
}

// ended is an archive's list of members without the two blocks that end it.
func ended(archive []byte) []byte { return archive[:len(archive)-1024] }

func blobOf(content string) (digest, path string) {
	sum := sha256.Sum256([]byte(content))
	hex := fmt.Sprintf("%x", sum)
	return "sha256:" + hex, "blobs/sha256/" + hex
}

func indexOf(digest string) string {
	return `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","size":1,"digest":"` + digest + `"}]}`
}

// otherLayers is a docker archive whose layer is not the one of its configuration.
func otherLayers(t testing.TB) []byte {
	t.Helper()
	config := `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["sha256:` + strings.Repeat("a", 64) + `"]}}`
	return tarOf(t, member{name: "config.json", content: config}, member{name: "layer.tar", content: string(tarOf(t, member{name: "a", content: "b"}))},
		member{name: "manifest.json", content: `[{"Config":"config.json","RepoTags":["a:1"],"Layers":["layer.tar"]}]`})
}

// TestFetchOfHostileArchives guards against archives that end the program or fill the
// memory or the disk, and against layers that an engine refuses.
func TestFetchOfHostileArchives(t *testing.T) {
	self := "sha256:" + strings.Repeat("a", 64)
	marker := member{name: "oci-layout", content: `{"imageLayoutVersion":"1.0.0"}`}
	deep := []member{marker}
	digest := self
	for range maxNested + 2 {
		content := indexOf(digest)
		var path string
		digest, path = blobOf(content)
		deep = append(deep, member{name: path, content: content})
	}
	deep = append(deep, member{name: "index.json", content: indexOf(digest)})
	manifest := `[{"Config":"c","Layers":[]}]`
	for _, tt := range []struct {
		name    string
		archive []byte
		want    string
	}{
		{"index that names itself", tarOf(t, marker, member{name: "index.json", content: indexOf(self)}, member{name: "blobs/sha256/" + self[7:], content: indexOf(self)}), "has the digest"},
		{"indexes deep", tarOf(t, deep...), "exceed the limit of 8"},
		{"sparse member of a layout", append(ended(tarOf(t, marker)), sparse(t, "blobs/sha256/a", 1<<32)...), "it has sparse files"},
		{"sparse configuration", append(ended(tarOf(t, member{name: "manifest.json", content: manifest})), sparse(t, "c", 1<<32)...), "it has sparse files"},
		{"large configuration", tarOf(t, member{name: "manifest.json", content: manifest}, member{name: "c", content: strings.Repeat(" ", maxDocument+1)}), "exceeds the limit"},
		{"large manifest", tarOf(t, member{name: "manifest.json", content: strings.Repeat(" ", maxDocument+1)}), "exceeds the limit"},
		{"configuration behind links", tarOf(t, member{name: "manifest.json", content: manifest}, member{name: "c", link: "c"}), "not a regular file"},
		{"link before the configuration", tarOf(t, member{name: "manifest.json", content: manifest}, member{name: "c", link: "big"}, member{name: "c", content: "{}"}, member{name: "big", content: strings.Repeat(" ", maxDocument+1)}), "not a regular file"},
		{"other layers", otherLayers(t), "want the content"},
		{"no images", tarOf(t, member{name: "manifest.json", content: "[]"}), "single image"},
		{"name that leads out", tarOf(t, marker, member{name: "../../x", content: "x"}), "escapes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "a.tar")
			if err := os.WriteFile(file, tt.archive, 0o600); err != nil {
				t.Fatal(err)
			}
			cache := t.TempDir()
			_, err := Fetch(t.Context(), Want{Reference: "a:1", Archive: file}, "amd64", cache)
			if fault.Of(err) != fault.Invalid || fault.HintOf(err) == "" || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("want an error with %q, got %v", tt.want, err)
			}
			if left, _ := os.ReadDir(cache); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// An engine that keeps layers as it gets them saves packed ones beside others. The result has what the configuration says.
func TestFetchOfMixedLayers(t *testing.T) {
	first, second := string(tarOf(t, member{name: "a", content: "b"})), string(tarOf(t, member{name: "c", content: "d"}))
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write([]byte(second)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	sums := []string{fmt.Sprintf(`"sha256:%x"`, sha256.Sum256([]byte(first))), fmt.Sprintf(`"sha256:%x"`, sha256.Sum256([]byte(second)))}
	for _, tt := range []struct{ name, ids, layers string }{
		{"packed last", sums[0] + "," + sums[1], `"1","2"`},
		{"packed first", sums[1] + "," + sums[0], `"2","1"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[` + tt.ids + `]}}`
			file := filepath.Join(t.TempDir(), "a.tar")
			archive := tarOf(t, member{name: "c", content: config}, member{name: "1", content: first}, member{name: "2", content: packed.String()},
				member{name: "manifest.json", content: `[{"Config":"c","RepoTags":["a:1"],"Layers":[` + tt.layers + `]}]`})
			if err := os.WriteFile(file, archive, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := Fetch(t.Context(), Want{Reference: "a:1", Archive: file}, "amd64", t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			result, err := tarball.ImageFromPath(got.Path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := checkLayers(t.Context(), result); err != nil {
				t.Error(err)
			}
		})
	}
}

// FuzzFetch: an archive is refused with a hint, or becomes a Docker archive with
// the image of which it was said that it is in there, with all its layers.
func FuzzFetch(f *testing.F) {
	ref, err := name.NewTag("a:1")
	if err != nil {
		f.Fatal(err)
	}
	marker := member{name: "oci-layout", content: `{"imageLayoutVersion":"1.0.0"}`}
	config := `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}`
	digest, path := blobOf(config)
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":%d,"digest":%q},"layers":[]}`, len(config), digest)
	manifestDigest, manifestPath := blobOf(manifest)
	index := fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":%d,"digest":%q,"annotations":{"org.opencontainers.image.ref.name":"1"}}]}`, len(manifest), manifestDigest)
	var saved bytes.Buffer
	if err := tarball.Write(ref, sample(f, "amd64"), &saved); err != nil {
		f.Fatal(err)
	}
	f.Add(saved.Bytes())
	f.Add(tarOf(f, marker, member{name: path, content: config}, member{name: manifestPath, content: manifest}, member{name: "index.json", content: index}))
	f.Add(tarOf(f, member{name: "c", content: config}, member{name: "manifest.json", content: `[{"Config":"c","RepoTags":["b:2"],"Layers":null}]`}))
	f.Add(tarOf(f, member{name: "c", link: "d"}, member{name: "d", link: "c"}, member{name: "manifest.json", content: `[{"Config":"c"}]`}))
	f.Add(sparse(f, "manifest.json", 1<<40))
	f.Add(otherLayers(f))
	dir := f.TempDir()
	file, result := filepath.Join(dir, "a.tar"), filepath.Join(dir, "result.tar")
	f.Fuzz(func(t *testing.T, archive []byte) {
		if err := os.WriteFile(file, archive, 0o600); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(filepath.Join(dir, "layout")) }()
		// What Fetch does, without its cache, which waits for the disk.
		want := Want{Reference: ref.Name(), Archive: file}
		img, got, err := find(t.Context(), want, ref, v1.Platform{OS: "linux", Architecture: "amd64"}, dir)
		if err == nil {
			if err = checkLayers(t.Context(), img); err != nil {
				err = want.judge(err)
			}
		}
		if err != nil {
			if fault.Of(err) != fault.Invalid || fault.HintOf(err) == "" {
				t.Errorf("%q gives the error %v", archive, err)
			}
			return
		}
		if err := tarball.WriteToFile(result, ref, img); err != nil {
			t.Fatalf("%q cannot be written again: %v", archive, err)
		}
		again, err := tarball.ImageFromPath(result, &ref)
		if err != nil {
			t.Fatalf("the result cannot be read: %v", err)
		}
		if name, err := again.ConfigName(); err != nil || name.String() != got.ConfigDigest {
			t.Errorf("want the image %s, got %s, %v", got.ConfigDigest, name, err)
		}
		if err := checkLayers(t.Context(), again); err != nil {
			t.Errorf("the result has other layers: %v", err)
		}
	})
}
