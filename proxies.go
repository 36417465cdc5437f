package chat

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// WithTrustedProxies names the proxies in front of the Hub, by address ("10.0.0.7") or prefix ("10.0.0.0/8"); "unix" is whoever comes by a Unix socket. What they say in
// X-Forwarded-For is believed, from the right, up to the first address that is no proxy's: that is the client's, for limits, Handshake.RemoteAddr and logs.
// The default is none: the address is the connection's.
func WithTrustedProxies(prefixes ...string) Option {
	return hubOption("WithTrustedProxies", func(b *builder) {
		for _, text := range prefixes {
			if text == "unix" {
				b.hub.proxies.unix = true
				continue
			}
			p, err := netip.ParsePrefix(text)
			if a, e := netip.ParseAddr(text); e == nil && a.Zone() == "" {
				a = a.Unmap()
				p, err = netip.PrefixFrom(a, a.BitLen()), nil
			}
			if err != nil || p.Addr().Is4In6() { // no address is compared as one of those
				b.fail("WithTrustedProxies: %q is no address and no prefix", text)
				continue
			}
			b.hub.proxies.prefixes = append(b.hub.proxies.prefixes, p)
		}
	})
}

// proxies are those whose word is believed.
type proxies struct {
	prefixes []netip.Prefix
	unix     bool
}

func (p *proxies) trusts(a netip.Addr) bool {
	a = a.Unmap().WithZone("") // no prefix has a zone
	return slices.ContainsFunc(p.prefixes, func(prefix netip.Prefix) bool { return prefix.Contains(a) })
}

// trustsPeer is about the other end of the connection itself.
func (p *proxies) trustsPeer(remote string) bool {
	a, err := netip.ParseAddr(hostOf(remote))
	if err != nil { // Unix sockets have no address: "@", or empty
		return p.unix
	}
	return p.trusts(a)
}

// parseHop takes an address with or without a port.
func parseHop(hop string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(hop); err == nil {
		return ap.Addr(), true
	}
	a, err := netip.ParseAddr(strings.Trim(hop, "[]"))
	return a, err == nil
}

// addressOf is the address of a request's client: with the port where the client's own connection has come here.
func (h *core) addressOf(r *http.Request) string {
	p := &h.set.proxies
	if len(p.prefixes) == 0 && !p.unix || !p.trustsPeer(r.RemoteAddr) {
		return r.RemoteAddr
	}
	address := r.RemoteAddr
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		a, ok := parseHop(strings.TrimSpace(hop))
		if !ok { // what the next proxy on has said is all that is known
			break
		}
		address = a.Unmap().WithZone("").String()
		if !p.trusts(a) {
			break
		}
	}
	return address
}
