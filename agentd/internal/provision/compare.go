package provision

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
)

// compare returns an error for an existing guest that is not as asked for.
func compare(s driver.Spec, g driver.Guest) error {
	diff := differences(s, g)
	if len(diff) == 0 {
		return nil
	}
	return fault.WrapHint(fault.Invalid, fmt.Errorf("it is there, with %s", strings.Join(diff, ", ")),
		fmt.Sprintf("leave those options out; or change the guest itself; or felhom-agentd guest remove %d first", g.VMID))
}

// differences returns how the existing guest differs from what is asked for.
// What a driver does not report (memory, cores) is not compared.
func differences(s driver.Spec, g driver.Guest) []string {
	var list []string
	add := func(what, want, got string) {
		if want != got {
			list = append(list, fmt.Sprintf("%s %s and not %s", what, got, want))
		}
	}
	if s.Hostname != "" {
		add("hostname", s.Hostname, g.Hostname)
	}
	if s.Net.Bridge != "" {
		add("bridge", s.Net.Bridge, g.Net.Bridge)
	}
	if !s.Net.IP.IsZero() {
		add("address", s.Net.IP.String(), g.Net.IP.String())
	}
	if !s.Net.IP6.IsZero() {
		add("IPv6 address", s.Net.IP6.String(), g.Net.IP6.String())
	}
	if s.Net.Gateway.IsValid() {
		add("gateway", s.Net.Gateway.String(), g.Net.Gateway.String())
	}
	if s.Net.Gateway6.IsValid() {
		add("IPv6 gateway", s.Net.Gateway6.String(), g.Net.Gateway6.String())
	}
	if s.Net.VLAN != 0 {
		add("VLAN", strconv.Itoa(s.Net.VLAN), strconv.Itoa(g.Net.VLAN))
	}
	if s.OnBoot != nil {
		add("onboot", strconv.FormatBool(*s.OnBoot), strconv.FormatBool(g.OnBoot))
	}
	return list
}
