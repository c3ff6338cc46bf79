package provision

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/internal/containerspec"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
)

// maxURLs bounds the URLs that are shown of one guest.
const maxURLs = 8

// urls returns where the container of the guest answers: the URLs that the
// guest reported, or else those of its address and its published ports. note
// says why there are none; both are empty if that is not known.
func (p *Provisioner) urls(r Result) (list []string, note string) {
	progress, err := p.progress(r.Guest.VMID)
	if err == nil && progress != nil {
		for _, s := range progress.Steps {
			if s.Report.Step == contract.StepReady {
				list = ReportedURLs(s.Report.Message)
				if strings.Contains(s.Report.Message, "publishes no port") {
					note = "its container publishes no port"
				}
			}
		}
	}
	if len(list) > 0 || note != "" {
		return list, note
	}
	return knownURLs(r.Guest.Net, r.Bootstrap), ""
}

// ReportedURLs returns the plain URLs in a guest's message: scheme, literal
// address, port. A guest can write anything there.
func ReportedURLs(message string) []string {
	var list []string
	for _, word := range strings.Fields(message) {
		word = strings.Trim(word, ",;()")
		u, err := url.Parse(word)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
			continue
		}
		addr, err := netip.ParseAddr(u.Hostname())
		port, perr := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil || perr != nil || addr.Zone() != "" || len(list) == maxURLs {
			continue
		}
		list = append(list, address(u.Scheme, addr, int(port)))
	}
	return list
}

// knownURLs returns the URLs of a guest with a fixed address whose published
// ports this host knows.
func knownURLs(n driver.Net, boot contract.Bootstrap) []string {
	ip := n.IP
	if !ip.IsFixed() {
		ip = n.IP6
	}
	if !ip.IsFixed() {
		return nil
	}
	defaults := containerspec.Defaults(boot.Profile)
	c := containerspec.Merge(&defaults, boot.Container)
	if containerspec.HidesPorts(c.Network) {
		return nil
	}
	var list []string
	for _, text := range c.Ports {
		published, err := containerspec.Port(text)
		if err != nil {
			continue // it would have been refused earlier
		}
		for _, m := range published {
			port, err := strconv.Atoi(m.Binding.HostPort)
			if err != nil || port == 0 || m.Port.Proto() != "tcp" || len(list) == maxURLs || isLoopback(m.Binding.HostIP) {
				continue
			}
			list = append(list, address(schemeOf(port), ip.Prefix.Addr(), port))
		}
	}
	return list
}

func schemeOf(port int) string {
	if port == 443 || port == 8443 {
		return "https"
	}
	return "http"
}

func isLoopback(text string) bool {
	a, err := netip.ParseAddr(text)
	return err == nil && a.IsLoopback()
}

func address(scheme string, a netip.Addr, port int) string {
	return fmt.Sprintf("%s://%s/", scheme, net.JoinHostPort(a.String(), strconv.Itoa(port)))
}
