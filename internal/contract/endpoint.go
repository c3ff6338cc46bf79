package contract

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Endpoint is where the local API is: https, a host and a port. The zero
// Endpoint stands for no endpoint.
type Endpoint struct {
	host string // without brackets
	port int
}

// ParseEndpoint reads "https://HOST:PORT" and nothing more: no path, not even
// "/", no user, no query. HOST is a name, an IPv4 address or an IPv6 address
// in brackets. Errors hold no part that could be a password.
func ParseEndpoint(s string) (Endpoint, error) {
	if s == "" {
		return Endpoint{}, errors.New("the endpoint is empty; write https://HOST:PORT")
	}
	scheme, rest, found := strings.Cut(s, "://")
	switch {
	case !found:
		return Endpoint{}, errors.New(`the scheme is missing; write "https://" before the host`)
	case scheme == "http":
		return Endpoint{}, errors.New(`"http" is not encrypted and has no certificate to pin; write "https"`)
	case scheme != "https":
		return Endpoint{}, errors.New(`the scheme is not "https"`)
	case strings.Contains(rest, "@"):
		return Endpoint{}, errors.New(`a user does not belong here; remove everything between "//" and "@": the token has its own key`)
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		if rest[i:] == "/" {
			return Endpoint{}, errors.New(`the "/" at the end does not belong here; remove it`)
		}
		return Endpoint{}, fmt.Errorf("only host and port are accepted; remove everything from the %q on", rest[i:i+1])
	}
	host, port, err := splitHostPort(rest)
	if err != nil {
		return Endpoint{}, err
	}
	if port == 0 {
		return Endpoint{}, errors.New("the port is missing; the agent's default is 8443, so write :8443 after the host")
	}
	return Endpoint{host: host, port: port}, nil
}

// Host returns the host, an IPv6 address without brackets.
func (e Endpoint) Host() string { return e.host }

// Port returns the port, 0 for the zero Endpoint.
func (e Endpoint) Port() int { return e.port }

// IsZero reports whether there is no endpoint.
func (e Endpoint) IsZero() bool { return e == Endpoint{} }

// HostPort returns host and port as net.Dial takes them, "" for the zero Endpoint.
func (e Endpoint) HostPort() string {
	if e.IsZero() {
		return ""
	}
	return net.JoinHostPort(e.host, strconv.Itoa(e.port))
}

// URL returns the endpoint as it is written in bootstrap.json, with no "/" at
// the end, so that a path of the local API can be put after it.
func (e Endpoint) URL() string {
	if e.IsZero() {
		return ""
	}
	return "https://" + e.HostPort()
}

// String returns [Endpoint.URL].
func (e Endpoint) String() string { return e.URL() }

// MarshalText writes [Endpoint.URL].
func (e Endpoint) MarshalText() ([]byte, error) { return []byte(e.URL()), nil }

// UnmarshalText reads what [ParseEndpoint] reads.
func (e *Endpoint) UnmarshalText(text []byte) (err error) {
	*e, err = ParseEndpoint(string(text))
	return err
}

// maxURLBytes is far above any URL that a person wrote.
const maxURLBytes = 2048

// checkHubURL refuses what is not an https URL with a host and at most a port
// and a path. Errors hold no part that could be a password.
func checkHubURL(s string) error {
	if s == "" {
		return errors.New("the URL is empty; write https://HOST")
	}
	if len(s) > maxURLBytes {
		return fmt.Errorf("the URL is %d bytes long; at most %d are accepted", len(s), maxURLBytes)
	}
	u, err := url.Parse(s)
	if err != nil {
		cause := err
		if e, ok := errors.AsType[*url.Error](err); ok {
			cause = e.Err // url.Error repeats the whole URL
		}
		if strings.Contains(s, "@") {
			return errors.New("this is not a URL")
		}
		return fmt.Errorf("this is not a URL: %w", cause)
	}
	switch {
	case !strings.Contains(s, "://"):
		return errors.New(`the scheme is missing; write "https://" before the host`)
	case u.Scheme == "http":
		return errors.New(`"http" is not encrypted; write "https"`)
	case u.Scheme != "https":
		return errors.New(`the scheme is not "https"`)
	case u.User != nil:
		return errors.New(`a user does not belong here; remove everything between "//" and "@"`)
	case u.RawQuery != "" || u.ForceQuery:
		return errors.New(`a query does not belong here; remove everything from the "?" on`)
	case strings.Contains(s, "#"):
		return errors.New(`a fragment does not belong here; remove everything from the "#" on`)
	}
	_, _, err = splitHostPort(u.Host)
	return err
}
