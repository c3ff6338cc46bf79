package contract

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// checkHost refuses a host that is neither an IP address nor a DNS name. IPv6
// addresses have no brackets here.
func checkHost(host string) error {
	if host == "" {
		return errors.New("the host is missing")
	}
	if strings.Contains(host, "%") {
		return errors.New("an address with a zone means something on one machine only; use one without")
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.IsUnspecified() || addr.IsMulticast() {
			return fmt.Errorf("%s is not an address that a guest can connect to; use the address of the host", addr)
		}
		return nil
	}
	if len(host) > 253 {
		return fmt.Errorf("the host name is %d characters long; at most 253 are possible", len(host))
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if !isLabel(label) {
			return fmt.Errorf("%q is not a host name: each part between dots has 1 to 63 letters, digits and inner hyphens", host)
		}
	}
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		return fmt.Errorf("%q is neither an IPv4 address nor a host name", host)
	}
	return nil
}

func isLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if !isAlnum(s[i]) && s[i] != '-' {
			return false
		}
	}
	return true
}

func isAlnum(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}

// parsePort reads a port as people write it: 1 to 65535, no sign, no
// leading zero.
func parsePort(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || s[0] == '0' {
		return 0, fmt.Errorf("%q is not a port; write a number from 1 to 65535", s)
	}
	return int(n), nil
}

// splitHostPort splits host, host:port, [v6] or [v6]:port and checks both
// sides. The port is 0 if s has no port.
func splitHostPort(s string) (host string, port int, err error) {
	portText, hasPort := "", false
	if rest, bracket := strings.CutPrefix(s, "["); bracket {
		after, found := "", false
		if host, after, found = strings.Cut(rest, "]"); !found {
			return "", 0, errors.New(`the "]" of the IPv6 address is missing`)
		}
		if after != "" {
			if portText, hasPort = strings.CutPrefix(after, ":"); !hasPort {
				return "", 0, fmt.Errorf("%q after the address is not a port", after)
			}
		}
		if _, err := netip.ParseAddr(host); err != nil || !strings.Contains(host, ":") {
			return "", 0, fmt.Errorf("%q is not an IPv6 address", host)
		}
	} else {
		if strings.Count(s, ":") > 1 {
			return "", 0, errors.New("an IPv6 address needs brackets: [fd00::1]:8443")
		}
		host, portText, hasPort = strings.Cut(s, ":")
	}
	if err := checkHost(host); err != nil {
		return "", 0, err
	}
	if hasPort {
		if port, err = parsePort(portText); err != nil {
			return "", 0, err
		}
	}
	return host, port, nil
}

// checkRegistryHost refuses a host that Docker would not take for the registry
// of an image reference: Docker takes a name without dot and port for a
// directory on docker.io.
func checkRegistryHost(s string) error {
	switch {
	case s == "":
		return errors.New("the registry host is empty")
	case strings.Contains(s, "://"):
		return errors.New(`a registry is named without a scheme: leave out "://" and what comes before it`)
	case strings.Contains(s, "@"):
		return errors.New("a registry is named without a user; user and token have their own keys")
	case strings.Contains(s, "/"):
		return errors.New(`a registry is named as host or host:port; leave out everything from the "/" on`)
	}
	host, port, err := splitHostPort(s)
	if err != nil {
		return err
	}
	if !strings.ContainsAny(host, ".:") && port == 0 && host != "localhost" {
		return fmt.Errorf("Docker takes %q for a directory on docker.io; write the full name, or a port after it", s) //nolint:staticcheck // Docker is a name
	}
	if host == "index.docker.io" {
		return errors.New(`"index.docker.io" is written "docker.io"`)
	}
	return nil
}
