package provider

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/sealpost/sealpost/storage"
)

// What may be asked for in any quarter of an hour.
const (
	limitWindow         = 15 * time.Minute
	devicesPerNetwork   = 60 // codes of one client
	userCodesPerNetwork = 60 // codes typed, right or wrong (RFC 8628 §5.1)
	userCodesPerBrowser = 10 // likewise, and by one person
)

// limit is a counter. Its key is a MAC: the table holds no addresses.
func (p *Provider) limit(kind string, most int, of string) storage.Limit {
	mac := p.cfg.Secret.MAC("provider-limit", []byte(kind), []byte(of))[:16]
	return storage.Limit{Key: kind + ":" + base64.RawURLEncoding.EncodeToString(mac), Max: most, Window: limitWindow}
}

// count counts limits. When one is full, the error says how long to wait.
func (p *Provider) count(ctx context.Context, limits ...storage.Limit) error {
	err := p.cfg.Store.CountLimits(ctx, limits, p.cfg.Now())
	var full *storage.LimitError
	if errors.As(err, &full) {
		return &Error{Code: tooManyRequests, Description: "too many requests; try again later", Err: err, RetryAfter: full.RetryAfter}
	}
	return err
}

// networkKey is what one customer of a network has: an IPv4 address, an IPv6
// /64. Callers whose address is unknown share one key.
func networkKey(r *http.Request) string { return networkPrefix(r, 32, 64) }

// network says about where a request comes from, for people: the /24 of an IPv4
// address, the /48 of an IPv6 address.
func network(r *http.Request) string { return networkPrefix(r, 24, 48) }

// whereFrom is network, with the place before it where that is known.
func (p *Provider) whereFrom(r *http.Request) string {
	about, addr := network(r), remoteAddr(r)
	if p.cfg.Place == nil || !addr.IsValid() {
		return about
	}
	if place := p.cfg.Place(addr, ""); place != "" { // the person's language isn't known yet
		return place + " · " + about
	}
	return about
}

func remoteAddr(r *http.Request) netip.Addr {
	addr, err := netip.ParseAddr(r.RemoteAddr)
	if err != nil {
		withPort, _ := netip.ParseAddrPort(r.RemoteAddr)
		addr = withPort.Addr()
	}
	return addr.Unmap().WithZone("")
}

func networkPrefix(r *http.Request, bits4, bits6 int) string {
	addr, bits := remoteAddr(r), bits6
	if addr.Is4() {
		bits = bits4
	}
	prefix, err := addr.Prefix(bits)
	if err != nil || !prefix.IsValid() {
		return ""
	}
	return prefix.String()
}
