package upstream

import (
	"encoding/binary"
	"net/netip"
	"strconv"
)

// proxyVersion says which PROXY header a server expects. UP-116: off unless configured, since a server that expects none
// takes it for garbage.
type proxyVersion uint8

const (
	proxyOff proxyVersion = iota
	proxyV1
	proxyV2
)

const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

// appendProxyHeader appends the PROXY header that names src as the client and dst as the address it reached. If either is
// unknown the header says so (UNKNOWN, LOCAL: UP-120).
func appendProxyHeader(b []byte, v proxyVersion, src, dst netip.AddrPort) []byte {
	known := src.IsValid() && dst.IsValid()
	srcIP, dstIP := src.Addr().Unmap().WithZone(""), dst.Addr().Unmap().WithZone("")
	four := known && srcIP.Is4() && dstIP.Is4()
	switch {
	case v == proxyV1:
		return appendProxyV1(b, known, four, srcIP, dstIP, src.Port(), dst.Port())
	case v == proxyV2:
		return appendProxyV2(b, known, four, srcIP, dstIP, src.Port(), dst.Port())
	}
	return b
}

func appendProxyV1(b []byte, known, four bool, src, dst netip.Addr, sport, dport uint16) []byte {
	if !known {
		return append(b, "PROXY UNKNOWN\r\n"...)
	}
	if four {
		b = append(b, "PROXY TCP4 "...)
	} else {
		// UP-118: one family for both, IPv4 mapped into IPv6.
		src, dst = netip.AddrFrom16(src.As16()), netip.AddrFrom16(dst.As16())
		b = append(b, "PROXY TCP6 "...)
	}
	b = append(src.AppendTo(b), ' ')
	b = append(dst.AppendTo(b), ' ')
	b = append(strconv.AppendUint(b, uint64(sport), 10), ' ')
	b = strconv.AppendUint(b, uint64(dport), 10)
	return append(b, "\r\n"...)
}

func appendProxyV2(b []byte, known, four bool, src, dst netip.Addr, sport, dport uint16) []byte {
	b = append(b, proxySignature...)
	switch {
	case !known:
		return append(b, 0x20, 0x00, 0, 0)
	case four:
		b = append(b, 0x21, 0x11, 0, 12)
		b = append(b, src.AsSlice()...)
		b = append(b, dst.AsSlice()...)
	default:
		s, d := src.As16(), dst.As16()
		b = append(b, 0x21, 0x21, 0, 36)
		b = append(b, s[:]...)
		b = append(b, d[:]...)
	}
	b = binary.BigEndian.AppendUint16(b, sport)
	return binary.BigEndian.AppendUint16(b, dport)
}
