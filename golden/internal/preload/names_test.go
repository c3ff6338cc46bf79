package preload

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// An archive of last week's image, under this week's reference, is taken as the
// recipe says, and the build says so; every name that means the same is silent.
func TestArchiveOfAnotherImageIsWarnedOf(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()) // Check looks for what killed programs left there
	img := sample(t, "amd64")
	manifest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	const tagged, other = "registry.example/team/app:v2", "registry.example/team/app:v1"
	docker := func(tag string) func(*testing.T, string) error {
		return func(_ *testing.T, to string) error {
			ref, err := name.NewTag(tag)
			if err != nil {
				return err
			}
			return tarball.WriteToFile(to, ref, img)
		}
	}
	annotated := func(isNested bool, keys map[string]string) func(*testing.T, string) error {
		return func(_ *testing.T, to string) error {
			p, err := layout.Write(to, empty.Index)
			if err != nil {
				return err
			}
			if !isNested {
				return p.AppendImage(img, layout.WithAnnotations(keys))
			}
			platform := v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}
			return p.AppendIndex(mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img, Descriptor: platform}), layout.WithAnnotations(keys))
		}
	}
	short := func(text string) map[string]string { return map[string]string{refNameKey: text} }
	for _, tt := range []struct {
		name, reference string
		write           func(*testing.T, string) error
		warns           bool
	}{
		{"docker, same", tagged, docker(tagged), false},
		{"docker, older tag", tagged, docker(other), true},
		{"docker, other repository", tagged, docker("registry.example/team/other:v2"), true},
		{"docker, other registry", tagged, docker("mirror.example/team/app:v2"), true},
		{"docker, long form of Docker Hub", "docker.io/library/nginx:1", docker("index.docker.io/library/nginx:1"), false},
		{"docker, digest of the repository", "registry.example/team/app@" + manifest.String(), docker(tagged), false},
		{"docker, digest of another repository", "registry.example/team/other@" + manifest.String(), docker(tagged), true},
		{"layout, no name", tagged, annotated(false, nil), false},
		{"layout, tag", tagged, annotated(false, short("v2")), false},
		{"layout, older tag", tagged, annotated(false, short("v1")), true},
		{"layout, whole name", tagged, annotated(false, short(tagged)), false},
		{"layout, other name", tagged, annotated(false, short(other)), true},
		{"buildx, same", tagged, annotated(true, map[string]string{refNameKey: "v2", imageNameKey: tagged}), false},
		{"buildx, older", tagged, annotated(true, map[string]string{refNameKey: "v1", imageNameKey: other}), true},
		{"buildx, same tag of another repository", tagged, annotated(true, map[string]string{refNameKey: "v2", imageNameKey: "registry.example/team/other:v2"}), true},
		{"layout, a name for terminals", tagged, annotated(false, short("\x1b[31mv1")), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			archive := filepath.Join(t.TempDir(), "image")
			if err := tt.write(t, archive); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(archive); err != nil {
				t.Fatal(err)
			}
			want := Want{Reference: tt.reference, Archive: archive}
			fetched, err := Fetch(t.Context(), want, "amd64", t.TempDir())
			checked, checkErr := Check(t.Context(), want, "amd64")
			if err := errors.Join(err, checkErr); err != nil {
				t.Fatal(err)
			}
			for command, image := range map[string]Image{"build": fetched, "check": checked} {
				list, err := image.Warnings()
				all := strings.Join(list, "\n")
				if got := strings.Contains(all, "another name"); err != nil || got != tt.warns || strings.Contains(all, "\x1b") {
					t.Errorf("%s: warned %v, want %v: %q %v", command, got, tt.warns, list, err)
				}
			}
		})
	}
}
