package main

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	layerBytes       = 100_000 // of each layer: what is measured is the number of requests
	layerCount       = 2
	upstreamPassword = "upstream-password-of-the-benchmark"
	manifestTypes    = string(types.DockerManifestSchema2) + ", " + string(types.OCIManifestSchema1)
)

// upstream is the registry of a fleet, in this process: it wants a password and counts what it is asked.
type upstream struct {
	server      *httptest.Server
	image       string // reference
	config      string // lines of agentd.yaml
	paths       []string
	asked, sent atomic.Int64 // requests with the password, and bytes of the answers
}

func startUpstream(ctx context.Context, dir string) (_ *upstream, err error) {
	u := &upstream{}
	store := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	u.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != upstreamPassword {
			w.Header().Set("WWW-Authenticate", `Basic realm="benchmark"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		u.asked.Add(1)
		store.ServeHTTP(&counted{w, &u.sent}, r)
	}))
	defer func() {
		if err != nil {
			u.server.Close()
		}
	}()
	host := strings.TrimPrefix(u.server.URL, "https://")
	u.image = host + "/team/app:1"
	ca, secret := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "password")
	if err := errors.Join(
		os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: u.server.Certificate().Raw}), 0o600),
		os.WriteFile(secret, []byte(upstreamPassword), 0o600),
	); err != nil {
		return nil, err
	}
	u.config = fmt.Sprintf("registry_access: proxy\nregistry: {host: %q, username: puller, token_file: %s, ca_file: %s}\n", host, secret, ca)
	image, err := random.Image(layerBytes, layerCount)
	if err != nil {
		return nil, err
	}
	tag, err := name.NewTag(u.image)
	if err != nil {
		return nil, err
	}
	if err := remote.Write(tag, image, remote.WithContext(ctx), remote.WithTransport(u.server.Client().Transport),
		remote.WithAuth(&authn.Basic{Username: "pusher", Password: upstreamPassword})); err != nil {
		return nil, err
	}
	u.paths, err = pathsOf(image)
	u.asked.Store(0)
	u.sent.Store(0)
	return u, err
}

// pathsOf returns what an engine asks for in a pull by tag.
func pathsOf(image v1.Image) ([]string, error) {
	digest, err := image.Digest()
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigName()
	if err != nil {
		return nil, err
	}
	layers, err := image.Layers()
	if err != nil {
		return nil, err
	}
	paths := []string{"/v2/team/app/manifests/1", "/v2/team/app/manifests/" + digest.String(), "/v2/team/app/blobs/" + config.String()}
	for _, l := range layers {
		digest, err := l.Digest()
		if err != nil {
			return nil, err
		}
		paths = append(paths, "/v2/team/app/blobs/"+digest.String())
	}
	return paths, nil
}

type counted struct {
	http.ResponseWriter
	sent *atomic.Int64
}

// Write counts before it sends: who has read the answer finds all of it counted.
func (c *counted) Write(b []byte) (int, error) {
	c.sent.Add(int64(len(b)))
	n, err := c.ResponseWriter.Write(b)
	c.sent.Add(int64(n - len(b)))
	return n, err
}
