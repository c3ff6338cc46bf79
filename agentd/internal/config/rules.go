package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/felhom/felhom-golden/internal/contract"
)

var (
	hostIDForm    = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)
	interfaceForm = regexp.MustCompile(`^[^\s/:]{1,15}$`) // IFNAMSIZ less its NUL
	hostForm      = regexp.MustCompile(`^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?$`)
)

// CheckHostID returns an error if a host's name for the hub is not valid.
func CheckHostID(s string) error {
	if !hostIDForm.MatchString(s) {
		return fmt.Errorf("want 1 to 63 letters, digits, dots, hyphens or underscores, got %q", s)
	}
	return nil
}

func checkHubURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return fmt.Errorf("want a URL like https://hub.example, got %q", s)
	case u.Scheme != "https":
		return fmt.Errorf("want https, got %q", u.Scheme)
	case u.User != nil:
		return errors.New("must not hold a user name or password: it is written into every guest")
	case u.RawQuery != "" || u.Fragment != "":
		return errors.New("must not hold a query or fragment")
	}
	return nil
}

func checkImage(s string) error {
	if _, err := contract.ParseImageRef(s); err != nil {
		return fmt.Errorf("%w, got %q", err, s)
	}
	return nil
}

func checkDigest(s string) error {
	if _, err := contract.ParseDigest(s); err != nil {
		return fmt.Errorf("%w, got %q", err, s)
	}
	return nil
}

func checkInterface(s string) error {
	if s == "lo" {
		return errors.New("lo is this host's loopback interface; want a bridge")
	}
	if !interfaceForm.MatchString(s) {
		return fmt.Errorf("want the name of a network interface, got %q", s)
	}
	return nil
}

func checkNameservers(s string) error {
	servers := strings.Fields(s)
	if len(servers) == 0 || len(servers) > maxNameservers {
		return fmt.Errorf("want 1 to %d addresses with blanks between them, got %q", maxNameservers, s)
	}
	for _, server := range servers {
		if a, err := netip.ParseAddr(server); err != nil || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
			return fmt.Errorf("want the address of a name server like 192.0.2.1, got %q", server)
		}
	}
	return nil
}

// maxNameservers is how many a resolver asks (resolv.conf(5)).
const maxNameservers = 3

func checkPath(s string) error {
	if !filepath.IsAbs(s) || filepath.Clean(s) != s {
		return fmt.Errorf("want a clean absolute path, got %q", s)
	}
	return nil
}

// maxSocketPath is the size of sun_path, less its NUL and the suffix of the
// name under which the socket is made before its rename.
const maxSocketPath = 107 - 10

func checkSocket(s string) error {
	if len(s) > maxSocketPath {
		return fmt.Errorf("has %d bytes, a Unix socket's path may have %d", len(s), maxSocketPath)
	}
	return checkPath(s)
}

func checkRegistryHost(s string) error {
	if !hostForm.MatchString(s) {
		return fmt.Errorf("want host or host:port, got %q", s)
	}
	return nil
}

func checkVisible(s string) error {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("want visible ASCII characters without blanks")
	}
	return nil
}
