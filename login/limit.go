package login

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sealpost/sealpost/storage"
)

// Limit is how many links may be asked for in a window of time, which starts
// with the first. The zero Limit is off.
type Limit struct {
	Max int
	Per time.Duration
}

// ParseLimit reads "5/15m", "60/900" (seconds) or "off".
func ParseLimit(s string) (Limit, error) {
	s = strings.TrimSpace(s)
	if s == "off" {
		return Limit{}, nil
	}
	fail := fmt.Errorf(`limit %q is neither "off" nor a number and a duration such as "5/15m"`, s)
	count, window, ok := strings.Cut(s, "/")
	if !ok {
		return Limit{}, fail
	}
	n, err := strconv.Atoi(strings.TrimSpace(count))
	if err != nil || n < 1 {
		return Limit{}, fail
	}
	window = strings.TrimSpace(window)
	if _, err := strconv.Atoi(window); err == nil {
		window += "s"
	}
	per, err := time.ParseDuration(window)
	if err != nil || per < time.Second {
		return Limit{}, fail
	}
	return Limit{Max: n, Per: per}, nil
}

// String is what ParseLimit reads.
func (l Limit) String() string {
	if l.Max == 0 {
		return "off"
	}
	return fmt.Sprintf("%d/%s", l.Max, l.Per)
}

// limits are the counters that asking for a link to addr counts. Their keys
// are MACs: the table holds no addresses, of mailboxes or machines.
func (l *Login) limits(r *http.Request, addr Address) []storage.Limit {
	out := l.counter(nil, "network", l.cfg.PerNetwork, networkKey(r))
	out = l.counter(out, "instance", l.cfg.PerInstance, l.cfg.Issuer)
	return l.perAddress(out, r, "address", l.cfg.PerAddress, addr)
}

// codeLimits are the counters that typing a code counts.
func (l *Login) codeLimits(r *http.Request, addr Address) []storage.Limit {
	return l.perAddress(nil, r, "code", codesPerMailbox, addr)
}

// perAddress adds the counter of an address, one of its own where the address
// was proven before.
func (l *Login) perAddress(out []storage.Limit, r *http.Request, kind string, limit Limit, addr Address) []storage.Limit {
	if l.isKnown(r, addr.Key) {
		return l.counter(out, "known-"+kind, limit, addr.AbuseKey()+" "+l.KnownBrowser(r))
	}
	return l.counter(out, kind, limit, addr.AbuseKey())
}

func (l *Login) counter(out []storage.Limit, kind string, limit Limit, of string) []storage.Limit {
	if limit.Max == 0 {
		return out
	}
	mac := l.cfg.Secret.MAC("limit", []byte(kind), []byte(of))[:macSize]
	return append(out, storage.Limit{Key: kind + ":" + b64.EncodeToString(mac), Max: limit.Max, Window: limit.Per})
}

func limitKind(key string) string {
	kind, _, _ := strings.Cut(key, ":")
	return kind
}

// networkKey is what one customer of a network has: an IPv4 address, an IPv6
// /64. Callers whose address is unknown share one key.
func networkKey(r *http.Request) string { return prefix(r, 32, 64) }

// network says about where a request comes from, for people: the /24 of an
// IPv4 address, the /48 of an IPv6 address.
func network(r *http.Request) string { return prefix(r, 24, 48) }

// whereFrom is network, with the place before it where that is known.
func (l *Login) whereFrom(r *http.Request, language string) string {
	about, addr := network(r), remoteAddr(r)
	if l.cfg.Place == nil || !addr.IsValid() {
		return about
	}
	if place := l.cfg.Place(addr, language); place != "" {
		return place + " · " + about
	}
	return about
}

// remoteAddr is where a request comes from; the zero value when that is unknown.
func remoteAddr(r *http.Request) netip.Addr {
	addr, err := netip.ParseAddr(r.RemoteAddr)
	if err != nil {
		withPort, _ := netip.ParseAddrPort(r.RemoteAddr)
		addr = withPort.Addr()
	}
	return addr.Unmap().WithZone("")
}

func prefix(r *http.Request, bits4, bits6 int) string {
	addr, bits := remoteAddr(r), bits6
	if addr.Is4() {
		bits = bits4
	}
	p, err := addr.Prefix(bits)
	if err != nil || !p.IsValid() {
		return ""
	}
	return p.String()
}
