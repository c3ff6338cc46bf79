package docker

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// Engines shorten the names of docker.io, so the name to remove is not the one that was pulled.
func TestRemoveImageByTheNameThatTheEngineGives(t *testing.T) {
	for _, test := range []struct {
		ref  string
		tags []string
		want []string // the names that are removed
	}{
		{"docker.io/team/app:1", []string{"team/app:1"}, []string{"team/app:1"}},
		{"docker.io/library/app:1", []string{"app:1", "other:1"}, []string{"app:1"}},
		{"registry.example/team/app:1", []string{"mirror.example:5000/team/app:1", "registry.example/team/app:1"}, []string{"mirror.example:5000/team/app:1", "registry.example/team/app:1"}},
		{"registry.example/app:1", []string{"team/app:1", "app:1", "localhost/app:1", "registry.example/app:2"}, []string{"localhost/app:1"}},
		{"registry.example/app:1", nil, []string{"sha256:0"}},
	} {
		var removed []string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, name, _ := strings.Cut(r.URL.Path, "/images/")
			if r.Method == http.MethodDelete {
				removed = append(removed, name)
				_, _ = w.Write([]byte("[]"))
				return
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"Id": "sha256:0", "RepoTags": test.tags})
		}))
		c, err := New("tcp://" + server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.RemoveImage(t.Context(), "sha256:0", test.ref); err != nil || !slices.Equal(removed, test.want) {
			t.Errorf("%s with the names %q: removed %q, %v, want %q", test.ref, test.tags, removed, err, test.want)
		}
		_ = c.Close()
		server.Close()
	}
}
