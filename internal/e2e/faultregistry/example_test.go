package faultregistry_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/felhom/felhom-golden/internal/e2e/faultregistry"
)

func Example() {
	image, err := faultregistry.Image(faultregistry.TypeLayer, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	tooMany := faultregistry.Say(http.StatusTooManyRequests, faultregistry.TypeJSON, faultregistry.ProblemJSON("TOOMANYREQUESTS", "slow down"))
	registry := faultregistry.Registry{Artifact: image, Manifest: tooMany}
	for _, path := range []string{"/v2/", "/v2/app/manifests/v1", "/v2/app/blobs/" + faultregistry.DigestOf(image.Layer)} {
		w := httptest.NewRecorder()
		registry.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, http.NoBody))
		fmt.Println(w.Code)
	}
	// Output:
	// 200
	// 429
	// 200
}
