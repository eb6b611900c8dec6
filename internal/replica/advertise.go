package replica

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// Advertise returns the address that other replicas should use for a listener (setting `replica.advertise`): the one it
// listens on, or if that is any address the first one of this machine that others can reach, with the listener's port.
func Advertise(listener net.Addr) (string, error) {
	tcp, ok := listener.(*net.TCPAddr)
	if !ok {
		return "", fmt.Errorf("replica listener on %s: want TCP", listener.Network())
	}
	if tcp.IP != nil && !tcp.IP.IsUnspecified() {
		return tcp.String(), nil
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("addresses of this machine: %w", err)
	}
	host, err := reachable(addrs)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(host.String(), strconv.Itoa(tcp.Port)), nil
}

var errNoAddress = errors.New("this machine has no address that others can reach; set replica.advertise")

// reachable returns the first address that is neither loopback nor good on one link only, IPv4 before IPv6.
func reachable(addrs []net.Addr) (netip.Addr, error) {
	var six netip.Addr
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		addr := prefix.Addr().Unmap()
		switch {
		case !addr.IsGlobalUnicast(), addr.IsLinkLocalUnicast():
		case addr.Is4():
			return addr, nil
		case !six.IsValid():
			six = addr
		}
	}
	if !six.IsValid() {
		return netip.Addr{}, errNoAddress
	}
	return six, nil
}
