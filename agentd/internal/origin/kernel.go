package origin

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// kernel asks the tables of one network namespace. It needs no rights.
type kernel struct {
	handle *netlink.Handle
	socket *nl.SocketHandle // for the two questions that Handle can only ask for all entries
}

func openKernel() (*kernel, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	s, err := nl.Subscribe(unix.NETLINK_ROUTE) // to no group
	if err != nil {
		h.Close()
		return nil, err
	}
	k := &kernel{handle: h, socket: &nl.SocketHandle{Socket: s}}
	// A lost answer must not stop the daemon.
	timeout := unix.NsecToTimeval(patience.Nanoseconds())
	if err := errors.Join(h.SetSocketTimeout(patience), s.SetReceiveTimeout(&timeout), s.SetSendTimeout(&timeout)); err != nil {
		k.close()
		return nil, err
	}
	return k, nil
}

func (k *kernel) close() {
	k.handle.Close()
	k.socket.Close()
}

func failed(what string, err error) *Mismatch {
	return &Mismatch{Reason: Failed, Detail: fmt.Sprintf("%s: %v", what, err)}
}

// locate returns where source is. It asks for the interface through which this
// host answers it: only there can the peer of a connection be.
func (k *kernel) locate(source netip.Addr) (place, *Mismatch) {
	if !source.IsValid() || source.IsLoopback() {
		return place{}, &Mismatch{Reason: FromHost}
	}
	index, m := k.outgoing(source)
	if m != nil {
		return place{}, m
	}
	at, m := k.bridge(index)
	if m != nil {
		return place{}, m
	}
	at.neighbor = neighbor{index, source.WithZone("")}
	near, err := k.get(&netlink.Ndmsg{Family: family(source), Index: uint32(index)}, nl.NewRtAttr(netlink.NDA_DST, source.AsSlice()))
	const usable = netlink.NUD_REACHABLE | netlink.NUD_STALE | netlink.NUD_DELAY | netlink.NUD_PROBE | netlink.NUD_PERMANENT
	switch {
	case errors.Is(err, unix.ENOENT), err == nil && near.State&usable == 0:
		return place{}, &Mismatch{Reason: NoNeighbor, Detail: "on " + at.bridgeName}
	case err != nil:
		return place{}, failed("neighbour table", err)
	}
	if at.mac = hardwareOf(near.HardwareAddr); at.mac == (hardware{}) {
		return place{}, &Mismatch{Reason: NoNeighbor, Detail: "on " + at.bridgeName}
	}
	return k.port(at)
}

// port completes at, whose bridge and MAC are known.
func (k *kernel) port(at place) (place, *Mismatch) {
	attrs := []*nl.RtAttr{nl.NewRtAttr(netlink.NDA_LLADDR, at.mac[:]), nl.NewRtAttr(netlink.NDA_MASTER, nl.Uint32Attr(uint32(at.bridge)))}
	if at.vlan != 0 {
		attrs = append(attrs, nl.NewRtAttr(netlink.NDA_VLAN, nl.Uint16Attr(uint16(at.vlan))))
	}
	entry, err := k.get(&netlink.Ndmsg{Family: unix.AF_BRIDGE}, attrs...)
	missing := &Mismatch{Reason: NoPort, Detail: fmt.Sprintf("MAC %s on %s", at.mac, at.bridgeName)}
	switch {
	case errors.Is(err, unix.ENOENT), err == nil && entry.LinkIndex == 0:
		return place{}, missing
	case err != nil:
		return place{}, failed("table of bridge "+at.bridgeName, err)
	case entry.LinkIndex == at.bridge: // its own MAC
		return place{}, &Mismatch{Reason: FromHost}
	}
	link, err := k.handle.LinkByIndex(entry.LinkIndex)
	switch {
	case isGone(err), err == nil && link.Attrs().MasterIndex != at.bridge:
		return place{}, missing
	case err != nil:
		return place{}, failed("port "+strconv.Itoa(entry.LinkIndex), err)
	}
	at.port, at.portName = entry.LinkIndex, link.Attrs().Name
	return at, nil
}

// outgoing returns the interface through which source is answered.
func (k *kernel) outgoing(source netip.Addr) (int, *Mismatch) {
	var o *netlink.RouteGetOptions
	if zone := source.Zone(); zone != "" {
		o = &netlink.RouteGetOptions{}
		index, err := strconv.Atoi(zone)
		if err != nil {
			link, err := k.handle.LinkByName(zone)
			if err != nil {
				return 0, failed("zone "+zone, err)
			}
			index = link.Attrs().Index
		}
		o.OifIndex = index
	}
	routes, err := k.handle.RouteGetWithOptions(source.AsSlice(), o)
	switch {
	case err == nil && len(routes) == 0, errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH):
		return 0, &Mismatch{Reason: Routed, Detail: "no route to it"}
	case err != nil:
		return 0, failed("routes", err)
	}
	r := routes[0]
	switch {
	case r.Type == unix.RTN_LOCAL:
		return 0, &Mismatch{Reason: FromHost}
	case r.Type != unix.RTN_UNICAST || len(r.Gw) > 0 || r.Via != nil || len(r.MultiPath) > 0 || r.Encap != nil:
		return 0, &Mismatch{Reason: Routed}
	}
	return r.LinkIndex, nil
}

// bridge returns the bridge that interface index is, or is a VLAN of.
func (k *kernel) bridge(index int) (place, *Mismatch) {
	link, err := k.handle.LinkByIndex(index)
	if err != nil {
		return place{}, failed("interface "+strconv.Itoa(index), err)
	}
	tag := 0
	if vlan, ok := link.(*netlink.Vlan); ok && vlan.ParentIndex != 0 {
		tag = vlan.VlanId
		if link, err = k.handle.LinkByIndex(vlan.ParentIndex); err != nil {
			return place{}, failed("interface below "+vlan.Name, err)
		}
	}
	b, ok := link.(*netlink.Bridge)
	if !ok {
		return place{}, &Mismatch{Reason: NotBridged, Detail: fmt.Sprintf("%s is of type %q", link.Attrs().Name, link.Type())}
	}
	at := place{station: station{bridge: b.Index}, bridgeName: b.Name}
	if b.VlanFiltering == nil || !*b.VlanFiltering { // its table knows no VLANs
		return at, nil
	}
	if at.vlan = tag; tag == 0 {
		// What has no tag is in the VLAN that the bridge, as a port of itself, takes it for.
		all, err := k.handle.BridgeVlanList()
		if err != nil {
			return place{}, failed("VLANs of "+b.Name, err)
		}
		for _, v := range all[int32(b.Index)] {
			if v.PortVID() {
				at.vlan = int(v.Vid)
			}
		}
	}
	return at, nil
}

// get asks for one entry of the neighbour table or of a bridge's.
func (k *kernel) get(msg *netlink.Ndmsg, attrs ...*nl.RtAttr) (*netlink.Neigh, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETNEIGH, 0)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: k.socket}
	req.AddData(msg)
	for _, a := range attrs {
		req.AddData(a)
	}
	answers, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNEIGH)
	if err != nil {
		return nil, err
	}
	if len(answers) != 1 {
		return nil, fmt.Errorf("want one answer, got %d", len(answers))
	}
	return netlink.NeighDeserialize(answers[0])
}

func family(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// hardwareOf returns zero for what is not a MAC of Ethernet.
func hardwareOf(a net.HardwareAddr) (m hardware) {
	if len(a) == len(m) {
		copy(m[:], a)
	}
	return m
}

func isGone(err error) bool {
	var gone netlink.LinkNotFoundError
	return errors.As(err, &gone) || errors.Is(err, unix.ENODEV)
}
