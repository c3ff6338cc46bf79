package localapi

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/felhom/felhom-golden/internal/contract"
)

// FuzzOpen: a client is made of each bootstrap.json that the bootstrapper takes, and of no
// other: with the same endpoint and token, and with each pin of the current and the next key.
func FuzzOpen(f *testing.F) {
	const (
		head = `{"host_id":"h","local_api_endpoint":"https://192.0.2.1:8443","local_api_token":"fgt_8200_x","controller_image":"registry.example/app:1","hub_url":"https://hub.example",`
		pin  = `"uSSmg6cuEJj9CF7hiBdQ5OEJKOs0NszXJXjRNBwq8DM="`
		leaf = `"BA:78:16:BF:8F:01:CF:EA:41:41:40:DE:5D:AE:22:23:B0:03:61:A3:96:17:7A:9C:B4:10:FF:61:F2:00:15:AD"`
	)
	for _, s := range []string{
		head + `"local_api_pin_spki_sha256":` + pin + `}`, head + `"local_api_pin_spki_sha256":[` + pin + `,` + pin + `]}`, head + `"local_api_pin_leaf_sha256":` + leaf + `}`, head + `"local_api_pin_spki_sha256":` + pin + `,"local_api_pin_leaf_sha256":` + leaf + `}`,
		head + `"local_api_pin_spki_sha256":""}`, head + `"local_api_pin_spki_sha256":"sha256//` + pin[1:] + `}`, head + `"local_api_pin_spki_sha256":[]}`, "{}", "", "null",
	} {
		f.Add([]byte(s))
	}
	file := filepath.Join(f.TempDir(), "bootstrap.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		b, findings := contract.Parse(data)
		c, err := Open(file)
		if (err == nil) != (findings.Err() == nil && len(data) <= contract.MaxBootstrapBytes) {
			t.Fatalf("%q: the bootstrapper says %v, and Open %v", data, findings.Err(), err)
		}
		if err != nil {
			if c != nil {
				t.Errorf("%q is refused with %v, and there is a client", data, err)
			}
			return
		}
		defer c.Close()
		if got := c.current; got.Endpoint != b.LocalAPIEndpoint || got.Token.Reveal() != b.LocalAPIToken.Reveal() || !slices.Equal(got.Pins, b.LocalAPIPins) {
			t.Errorf("%q: pins %v, want %v; endpoint %v, want %v", data, got.Pins, b.LocalAPIPins, got.Endpoint, b.LocalAPIEndpoint)
		}
	})
}
