package registryproxy_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/registryproxy"
)

func Example() {
	proxy := registryproxy.New(registryproxy.Options{
		Registries: []registryproxy.Registry{{Host: "registry.example"}},
		Images: func(context.Context, int) ([]registryproxy.Image, error) {
			return []registryproxy.Image{{Host: "registry.example", Repository: "team/app", Tag: "v1"}}, nil
		},
		Pulled: func(p registryproxy.Pull) { fmt.Println(p.VMID, p.Repository, p.Status) },
		Failed: func(_ int, err error) { fmt.Println(err) },
		Now:    time.Now,
	})
	defer proxy.Close()
	guest := registryproxy.Guest{VMID: 8200, IsValid: func() bool { return true }}
	w := httptest.NewRecorder()
	proxy.Serve(w, httptest.NewRequest(http.MethodGet, "/v2/team/secret/manifests/v1", http.NoBody), guest)
	fmt.Println(w.Code)
	// Output:
	// asked for team/secret (v1), which it may not pull
	// 403
}
