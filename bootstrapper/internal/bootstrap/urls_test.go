package bootstrap

import (
	"testing"

	"github.com/felhom/felhom-golden/internal/contract"
)

func TestAnswersAt(t *testing.T) {
	for _, c := range []struct {
		ports   []string
		address string
		want    string
	}{
		{[]string{"9001:9001", "8443:443/tcp", "53:53/udp", "127.0.0.1:1:1", "80"}, "192.0.2.7", ": http://192.0.2.7:9001/ https://192.0.2.7:8443/"},
		{[]string{"0.0.0.0:80:80", "198.51.100.1:81:80"}, "192.0.2.7", ": http://192.0.2.7:80/ http://198.51.100.1:81/"},
		{[]string{"80:80"}, "2001:db8::7", ": http://[2001:db8::7]:80/"},
		{[]string{"80:80"}, "", ""},
		{nil, "192.0.2.7", ""},
	} {
		if got := answersAt(c.ports, c.address); got != c.want {
			t.Errorf("%v at %s: got %q, want %q", c.ports, c.address, got, c.want)
		}
	}
}

func TestOwnAddress(t *testing.T) {
	for text, want := range map[string]string{"https://127.0.0.1:8443": "127.0.0.1", "https://host.example:8443": ""} {
		e, err := contract.ParseEndpoint(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := ownAddress(t.Context(), e); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}
