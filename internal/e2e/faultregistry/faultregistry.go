// Package faultregistry is a registry with one image that fails as it is told,
// and what answers in the place of a registry: login pages, firewalls, token
// servers. Serve a [Registry] by net/http. It is for tests and benchmarks, on real
// engines.
package faultregistry

import (
	"archive/tar"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"time"
)

// The content types of answers.
const (
	TypeHTML = "text/html; charset=utf-8"
	TypeText = "text/plain"
	TypeJSON = "application/json"
)

// The media types of an image.
const (
	TypeManifest = "application/vnd.oci.image.manifest.v1+json"
	TypeConfig   = "application/vnd.oci.image.config.v1+json"
	TypeLayer    = "application/vnd.oci.image.layer.v1.tar"
)

// Answer is an answer in place of the registry's own.
type Answer struct {
	Status int
	Type   string // Content-Type
	Body   string
}

// Say returns an answer.
func Say(status int, contentType, body string) *Answer { return &Answer{status, contentType, body} }

// ProblemJSON returns the body of a registry's refusal.
func ProblemJSON(code, message string) string {
	data, _ := json.Marshal(map[string]any{"errors": []any{map[string]string{"code": code, "message": message}}})
	return string(data)
}

// Registry is an http.Handler. A nil field leaves that part as a registry has it.
type Registry struct {
	Base     *Answer // of everything but the token server
	Token    *Answer // of the token server
	Manifest *Answer
	Blob     *Answer // of the image's config and its layer

	WantsToken bool   // a token of the token server is asked for
	Realm      string // URL of the token server; "": the registry's own
	Password   string // asked for by the Basic method; "": none is
	Artifact   Artifact

	// Layer sends the layer, for a transfer that fails in the middle.
	Layer func(w http.ResponseWriter, r *http.Request, data []byte)
}

// Artifact is what the registry's one manifest describes.
type Artifact struct {
	Config, Layer         []byte
	ConfigType, LayerType string
}

// DigestOf returns the digest of data.
func DigestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Manifest returns the manifest of the artifact.
func (a Artifact) Manifest() []byte {
	part := func(kind string, data []byte) map[string]any {
		return map[string]any{"mediaType": kind, "digest": DigestOf(data), "size": len(data)}
	}
	data, _ := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": TypeManifest,
		"config": part(a.ConfigType, a.Config), "layers": []any{part(a.LayerType, a.Layer)},
	})
	return data
}

// ServeHTTP implements http.Handler.
func (g Registry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	blob := func(data []byte) {
		w.Header().Set("Docker-Content-Digest", DigestOf(data))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}
	switch path := r.URL.Path; {
	case path == "/token" && g.Token != nil:
		g.Token.send(w)
	case path == "/token":
		Say(http.StatusOK, TypeJSON, `{"token":"t","access_token":"t","expires_in":300}`).send(w)
	case g.Base != nil:
		g.Base.send(w)
	case !g.isAllowed(r):
		w.Header().Set("Www-Authenticate", g.challenge(r))
		Say(http.StatusUnauthorized, TypeJSON, ProblemJSON("UNAUTHORIZED", "authentication required")).send(w)
	case path == "/v2/":
		Say(http.StatusOK, TypeJSON, "{}").send(w)
	case strings.Contains(path, "/manifests/") && g.Manifest != nil:
		g.Manifest.send(w)
	case strings.Contains(path, "/manifests/"):
		w.Header().Set("Content-Type", TypeManifest)
		blob(g.Artifact.Manifest())
	case strings.Contains(path, "/blobs/") && g.Blob != nil:
		g.Blob.send(w)
	case strings.HasSuffix(path, DigestOf(g.Artifact.Config)):
		blob(g.Artifact.Config)
	case strings.HasSuffix(path, DigestOf(g.Artifact.Layer)) && g.Layer != nil:
		g.Layer(w, r, g.Artifact.Layer)
	case strings.HasSuffix(path, DigestOf(g.Artifact.Layer)):
		blob(g.Artifact.Layer)
	default:
		Say(http.StatusNotFound, TypeJSON, ProblemJSON("BLOB_UNKNOWN", "unknown blob")).send(w)
	}
}

func (g Registry) isAllowed(r *http.Request) bool {
	if g.Password != "" {
		_, password, _ := r.BasicAuth()
		return password == g.Password
	}
	return !g.WantsToken || r.Header.Get("Authorization") != ""
}

func (g Registry) challenge(r *http.Request) string {
	if g.Password != "" {
		return `Basic realm="registry"`
	}
	realm := g.Realm
	if realm == "" {
		realm = "http://" + r.Host + "/token"
	}
	return fmt.Sprintf("Bearer realm=%q,service=%q", realm, r.Host)
}

func (a *Answer) send(w http.ResponseWriter) {
	w.Header().Set("Content-Type", a.Type)
	w.WriteHeader(a.Status)
	_, _ = w.Write([]byte(a.Body)) // the engine might not read all of it
}

// Corrupt sends other bytes than the digest names, as many as there should be.
func Corrupt(w http.ResponseWriter, _ *http.Request, data []byte) {
	data = bytes.Clone(data)
	data[len(data)/2] ^= 0xff
	_, _ = w.Write(data) // the engine might not read all of it
}

// sendPart announces the data and sends the first part of it.
func sendPart(w http.ResponseWriter, data []byte) *http.ResponseController {
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	_, _ = w.Write(data[:len(data)/2]) // the engine might not read all of it
	control := http.NewResponseController(w)
	_ = control.Flush()
	return control
}

// Truncated sends the first half of what it announces and closes the connection.
// It panics, as net/http wants it.
func Truncated(w http.ResponseWriter, _ *http.Request, data []byte) {
	sendPart(w, data)
	panic(http.ErrAbortHandler)
}

// Reset sends the first half of what it announces and resets the connection.
func Reset(w http.ResponseWriter, _ *http.Request, data []byte) {
	conn, _, err := sendPart(w, data).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// Stalled sends the first half of what it announces and then nothing, until the
// engine gives up.
func Stalled(w http.ResponseWriter, r *http.Request, data []byte) {
	sendPart(w, data)
	<-r.Context().Done()
}

// FailTwice sends the layer to the third request, and 503 to those before it.
func FailTwice() func(w http.ResponseWriter, r *http.Request, data []byte) {
	var requests atomic.Int64
	return func(w http.ResponseWriter, r *http.Request, data []byte) {
		if requests.Add(1) <= 2 {
			Say(http.StatusServiceUnavailable, TypeJSON, ProblemJSON("UNAVAILABLE", "not now")).send(w)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}
}

// serial makes the content of each image another one: engines keep layers that
// they know.
var serial atomic.Int64

// Image returns an image with one layer for this machine's platform. Its layer is
// stored as pack gives it; nil stores the tar archive itself.
func Image(layerType string, pack func(tarball []byte) []byte) (Artifact, error) {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	content := fmt.Append(nil, serial.Add(1), " ", time.Now().UnixNano())
	err := w.WriteHeader(&tar.Header{Name: "a", Mode: 0o644, Size: int64(len(content))})
	_, writeErr := w.Write(content)
	if err := errors.Join(err, writeErr, w.Close()); err != nil {
		return Artifact{}, err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "config": map[string]any{"Cmd": []string{"/a"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{DigestOf(layer.Bytes())}},
	})
	if err != nil {
		return Artifact{}, err
	}
	if pack == nil {
		pack = func(tarball []byte) []byte { return tarball }
	}
	return Artifact{config, pack(layer.Bytes()), TypeConfig, layerType}, nil
}

// Certificate returns a certificate that is its own root, for one address and
// that time.
func Certificate(address string, from, until time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: from, NotAfter: until,
		IPAddresses: []net.IP{net.ParseIP(address)}, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
