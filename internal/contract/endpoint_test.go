package contract

import (
	"net/url"
	"testing"
)

func TestEndpointParts(t *testing.T) {
	tests := []struct {
		in, host, hostPort string
		port               int
	}{
		{in: "https://192.168.0.162:8443", host: "192.168.0.162", hostPort: "192.168.0.162:8443", port: 8443},
		{in: "https://agent.example:1", host: "agent.example", hostPort: "agent.example:1", port: 1},
		{in: "https://[fd00::162]:65535", host: "fd00::162", hostPort: "[fd00::162]:65535", port: 65535},
		{in: "https://agent:8443", host: "agent", hostPort: "agent:8443", port: 8443},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			e, err := ParseEndpoint(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if e.Host() != tt.host || e.Port() != tt.port || e.HostPort() != tt.hostPort || e.URL() != tt.in || e.String() != tt.in {
				t.Errorf("got host %q, port %d, %q, %q", e.Host(), e.Port(), e.HostPort(), e.URL())
			}
			var again Endpoint
			text, _ := e.MarshalText()
			if err := again.UnmarshalText(text); err != nil || again != e {
				t.Errorf("%s came back as %v, error %v", text, again, err)
			}
		})
	}
	var zero Endpoint
	if !zero.IsZero() || zero.URL() != "" || zero.HostPort() != "" {
		t.Errorf("the zero endpoint shows as %q", zero.URL())
	}
}

// FuzzEndpoint: what is accepted is its own URL, and net/url reads the same
// host and port and nothing else out of it.
func FuzzEndpoint(f *testing.F) {
	seeds := []string{"https://192.168.0.162:8443", "https://[fd00::1]:8443", "https://a:1/", "https://a@b:1", "https://a:01", "https://a:1?x", "https://[::]:1"}
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := ParseEndpoint(s)
		if err != nil {
			return
		}
		u, err := url.Parse(s)
		if err != nil || e.URL() != s || u.Hostname() != e.Host() || u.Host != e.HostPort() || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
			t.Errorf("%q was read as host %q and port %d; net/url says %+v, error %v", s, e.Host(), e.Port(), u, err)
		}
	})
}
