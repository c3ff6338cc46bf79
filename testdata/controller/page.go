package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// page says who this controller is and what the host answers it.
func page(ctx context.Context, settingsFile string) string {
	head := fmt.Sprintf("felhom sample controller %s\n", os.Getenv("FELHOM_SAMPLE_VERSION"))
	data, err := os.ReadFile(settingsFile)
	if errors.Is(err, os.ErrNotExist) {
		return head + "mode:     setup (there is no controller.yaml)\n"
	}
	var s settings
	if err == nil {
		err = yaml.Unmarshal(data, &s)
	}
	if err != nil {
		return head + "mode:     broken: " + err.Error() + "\n"
	}
	return head + fmt.Sprintf("mode:     configured\nhost:     %s\nhub:      %s\nstorage:  %s\n",
		s.Host.ID, s.Hub.URL, s.LocalAPI.storage(ctx))
}

// settings is what this controller takes from controller.yaml.
type settings struct {
	Hub struct {
		URL string `yaml:"url"`
	} `yaml:"hub"`
	Host struct {
		ID string `yaml:"id"`
	} `yaml:"host"`
	LocalAPI localAPI `yaml:"local_api"`
}

type localAPI struct {
	Endpoint string `yaml:"endpoint"`
	Token    string `yaml:"token"`
	Pins     struct {
		SPKI []string `yaml:"spki_sha256"` // base64
		Leaf []string `yaml:"leaf_sha256"` // hex with colons
	} `yaml:"pins"`
}

// storage asks the host how full the guest's file systems are, and gives
// status and body in one line.
func (l localAPI) storage(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.Endpoint+"/storage", nil)
	if err != nil {
		return err.Error()
	}
	req.Header.Set("Authorization", "Bearer "+l.Token)
	transport := &http.Transport{TLSClientConfig: &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // replaced by VerifyConnection: the certificate is self-signed and pinned
		VerifyConnection:   l.verify,
	}}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return err.Error()
	}
	return resp.Status + " " + strings.TrimSpace(string(body))
}

// verify holds the host's certificate against the pins; the leaf alone counts.
func (l localAPI) verify(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the host shows no certificate")
	}
	leaf := state.PeerCertificates[0]
	spki := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	whole := sha256.Sum256(leaf.Raw)
	for _, pin := range l.Pins.SPKI {
		if strings.TrimPrefix(pin, "sha256//") == base64.StdEncoding.EncodeToString(spki[:]) {
			return nil
		}
	}
	plain := func(pin string) string { return strings.ToLower(strings.ReplaceAll(pin, ":", "")) }
	if slices.ContainsFunc(l.Pins.Leaf, func(pin string) bool { return plain(pin) == hex.EncodeToString(whole[:]) }) {
		return nil
	}
	return errors.New("the host's certificate matches no pin")
}
