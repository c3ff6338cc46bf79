package doctor

import (
	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/listener"
	"github.com/felhom/felhom-golden/internal/checks"
	"github.com/felhom/felhom-golden/internal/driver"
)

// borrowedAddress warns of a bridge at whose address guests reach this host, and which
// takes that address from one of them: to all others the host is lost for up to a
// minute after that guest stops. A bridge on which this host has no address is
// not reached by any.
func borrowedAddress(netDir, name string) []checks.Finding {
	if _, err := listener.Addresses(nil, name, config.DefaultPort); err != nil {
		return nil
	}
	port, takes := driver.TakesGuestAddress(netDir, name)
	if !takes {
		return nil
	}
	remedy := "ip link set " + name + " address 02:00:00:00:00:01, or another that nothing else has, and the same in the network configuration"
	if port == "" {
		return []checks.Finding{checks.Warn(remedy, "bridge %s has no MAC address of its own and takes a guest's: when that guest stops, the others lose this host for up to a minute", name)}
	}
	return []checks.Finding{checks.Warn(remedy, "bridge %s has the MAC address of %s, a guest's port, and none of its own: when that guest stops, the others lose this host for up to a minute", name, port)}
}
