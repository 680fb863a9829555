package provider

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

var (
	thisMachine = prefixes("127.0.0.0/8")
	anyJSON     = fetchOptions{limit: 1000, types: []string{"application/json"}, minAge: time.Minute, maxAge: time.Hour}
)

// remote is a host that clients name: https, with a certificate of a private
// authority, for 127.0.0.1 and *.example.com.
type remote struct {
	*httptest.Server
	hits atomic.Int32
}

func newRemote(t *testing.T, serve http.HandlerFunc) *remote {
	t.Helper()
	return newRemoteTLS(t, &tls.Config{}, serve)
}

func newRemoteTLS(t *testing.T, cfg *tls.Config, serve http.HandlerFunc) *remote {
	t.Helper()
	s := &remote{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.hits.Add(1)
		serve(w, r)
	}))
	s.TLS, s.EnableHTTP2 = cfg, true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// fetcher trusts the authority of the host and may reach this machine.
func (s *remote) fetcher(allow ...netip.Prefix) (*fetcher, *clock) {
	c := &clock{now: time.Unix(1_800_000_000, 0)}
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	if allow == nil {
		allow = thisMachine
	}
	return newFetcher(FetchConfig{Allow: allow, RootCAs: roots, Now: c.Now}), c
}

// at is the address of the host under a name.
func (s *remote) at(name string) string {
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	return "https://" + net.JoinHostPort(name, port)
}

func answerJSON(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{}`)
}

// wantErr wants an error that says why.
func wantErr(t *testing.T, err error, why string) {
	t.Helper()
	if why == "" && err != nil || why != "" && (err == nil || !strings.Contains(err.Error(), why)) {
		t.Fatalf("err = %v, want %q", err, why)
	}
}

func TestFetchAnswers(t *testing.T) {
	var bomb bytes.Buffer // made here: it takes a slow machine longer than an answer may
	z := gzip.NewWriter(&bomb)
	_, err := z.Write(make([]byte, 10<<20))
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	t.Parallel()
	header := func(pairs ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for i := 0; i < len(pairs); i += 2 {
				w.Header().Set(pairs[i], pairs[i+1])
			}
			_, _ = io.WriteString(w, `{}`)
		}
	}
	redirect := func(to string, status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, status) }
	}
	for name, tt := range map[string]struct {
		serve http.HandlerFunc
		why   string
	}{
		"a document":                         {answerJSON, ""},
		"RFC 9110 §8.3: type with parameter": {header("Content-Type", "Application/JSON; charset=utf-8"), ""},
		"redirect to a private address":      {redirect("http://169.254.169.254/latest/meta-data/", 302), "redirects are not followed"},
		"redirect to the same host":          {redirect("/elsewhere", 308), "redirects are not followed"},
		"status 300 with a document":         {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(300); answerJSON(w, r) }, "redirects are not followed"},
		"not found":                          {http.NotFound, "status is 404"},
		"status 204":                         {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, "status is 204"},
		"a page":                             {header("Content-Type", "text/html"), `media type is "text/html"`},
		"no media type":                      {header("Content-Type", ""), "media type"},
		"large, and says so": {func(w http.ResponseWriter, r *http.Request) {
			header("Content-Length", "1001")(w, r)
			_, _ = io.WriteString(w, strings.Repeat(" ", 999))
		}, "too large"},
		"endless": {func(w http.ResponseWriter, r *http.Request) {
			answerJSON(w, r)
			for _, err := w.Write(make([]byte, 1<<10)); err == nil; _, err = w.Write(make([]byte, 1<<10)) {
			}
		}, "too large"},
		"cut off": {header("Content-Length", "900"), "EOF"},
		"gzip bomb": {func(w http.ResponseWriter, r *http.Request) {
			header("Content-Encoding", "gzip")(w, r)
			_, _ = w.Write(bomb.Bytes())
		}, "encoded"},
		"endless header": {func(w http.ResponseWriter, r *http.Request) {
			for i := range 1000 {
				w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("x", 1000))
			}
			answerJSON(w, r)
		}, "header"},
	} {
		for _, proto := range []string{"h2", "http/1.1"} {
			t.Run(name+", "+proto, func(t *testing.T) {
				t.Parallel()
				s := newRemoteTLS(t, &tls.Config{NextProtos: []string{proto}}, func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("User-Agent") != "sealpost" || r.Header.Get("Accept-Encoding") != "identity" || r.Header.Get("Accept") != "application/json" {
						t.Errorf("sent %v", r.Header)
					}
					tt.serve(w, r)
				})
				f, _ := s.fetcher()
				body, err := f.get(t.Context(), s.URL+"/a?b=c", anyJSON)
				why := tt.why
				if name == "endless header" && proto == "h2" {
					why = "PROTOCOL_ERROR"
				}
				wantErr(t, err, why)
				if err == nil && string(body) != `{}` {
					t.Errorf("body = %q", body)
				}
			})
		}
	}
}

// What is not to be fetched never reaches the network: these have no server.
func TestFetchRefusesAddresses(t *testing.T) {
	t.Parallel()
	const uriWrong, hostWrong, networkWrong = "not an absolute https address", "neither a name nor an address", "network that is not to be reached"
	f := newFetcher(FetchConfig{})
	for uri, why := range map[string]string{
		"":                                      uriWrong,
		"/jwks":                                 uriWrong,
		"https:rp.example.com":                  uriWrong,
		"https:///jwks":                         uriWrong,
		"http://rp.example.com/":                uriWrong,
		"http://localhost/":                     uriWrong,
		"ftp://rp.example.com/":                 uriWrong,
		"file:///etc/passwd":                    uriWrong,
		"unix:///run/docker.sock":               uriWrong,
		"https://ada@rp.example.com/":           uriWrong,
		"https://ada:secret@rp.example.com/":    uriWrong,
		"https://@rp.example.com/":              uriWrong,
		"https://rp.example.com/\r\nHost: x":    uriWrong,
		"https://%31%32%37.0.0.1/":              uriWrong,
		"https://rp.example.com/" + longPath:    uriWrong,
		"https://2130706433/":                   hostWrong,
		"https://0x7f000001/":                   hostWrong,
		"https://0x7f.0.0.1/":                   hostWrong,
		"https://017700000001/":                 hostWrong,
		"https://0177.0.0.1/":                   hostWrong,
		"https://127.1/":                        hostWrong,
		"https://127.0.0.1./":                   hostWrong,
		"https://１２７.０.０.１/":                    hostWrong,
		"https://ⓛocalhost/":                    hostWrong,
		"https://./":                            hostWrong,
		"https://[fe80::1%25eth0]/":             hostWrong,
		"https://127.0.0.1/":                    networkWrong,
		"https://0.0.0.0/":                      networkWrong,
		"https://10.1.2.3:8443/":                networkWrong,
		"https://169.254.169.254/latest/":       networkWrong,
		"https://[::1]/":                        networkWrong,
		"https://[::]/":                         networkWrong,
		"https://[::ffff:127.0.0.1]/":           networkWrong,
		"https://[::ffff:7f00:1]/":              networkWrong,
		"https://[::127.0.0.1]/":                networkWrong,
		"https://[64:ff9b::7f00:1]/":            networkWrong,
		"https://[2002:7f00:1::]/":              networkWrong,
		"https://[fe80::1]/":                    networkWrong,
		"https://[fd00:ec2::254]/":              networkWrong,
		"https://localhost/":                    networkWrong,
		"https://LOCALHOST:8443/jwks?a=b#c":     networkWrong,
		"https://[::ffff:0:127.0.0.1]:443/jwks": networkWrong,
	} {
		t.Run(uri, func(t *testing.T) {
			t.Parallel()
			_, err := f.get(t.Context(), uri, anyJSON)
			wantErr(t, err, why)
			if why != networkWrong {
				_, err = f.post(t.Context(), uri, url.Values{})
				wantErr(t, err, why)
			}
		})
	}
}

var longPath = strings.Repeat("x", maxFetchURI)

func TestReachable(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		cfg  FetchConfig
		addr string
		want bool
	}{
		{FetchConfig{}, "93.184.215.14", true},
		{FetchConfig{}, "2606:4700::1111", true},
		{FetchConfig{}, "64:ff9b::5db8:d70e", true}, // 93.184.215.14 by NAT64
		{FetchConfig{}, "::ffff:93.184.215.14", true},
		{FetchConfig{}, "100.64.0.1", false},
		{FetchConfig{}, "100.128.0.1", true},
		{FetchConfig{}, "172.31.255.255", false},
		{FetchConfig{}, "172.32.0.0", true},
		{FetchConfig{}, "192.0.2.1", false},
		{FetchConfig{}, "198.19.0.1", false},
		{FetchConfig{}, "224.0.0.251", false},
		{FetchConfig{}, "255.255.255.255", false},
		{FetchConfig{}, "2001:db8::1", false},
		{FetchConfig{}, "2001:0:4136:e378:8000:63bf:3fff:fdd2", false}, // Teredo
		{FetchConfig{}, "64:ff9b::a00:1", false},                       // 10.0.0.1 by NAT64
		{FetchConfig{}, "64:ff9b:1::a00:1", false},                     // RFC 8215
		{FetchConfig{}, "2002:5db8:d70e::1", false},                    // 6to4
		{FetchConfig{}, "fec0::1", false},
		{FetchConfig{}, "ff02::1", false},
		{FetchConfig{Allow: prefixes("10.1.0.0/16")}, "10.1.2.3", true},
		{FetchConfig{Allow: prefixes("10.1.0.0/16")}, "::ffff:10.1.2.3", true},
		{FetchConfig{Allow: prefixes("10.1.0.0/16")}, "64:ff9b::a01:203", true},
		{FetchConfig{Allow: prefixes("10.1.0.0/16")}, "10.2.2.3", false},
		{FetchConfig{Allow: prefixes("10.1.0.0/16")}, "127.0.0.1", false},
		{FetchConfig{Allow: prefixes("fd00::/8")}, "fd12::1", true},
		{FetchConfig{Loopback: true}, "127.0.0.1", true},
		{FetchConfig{Loopback: true}, "::1", true},
		{FetchConfig{Loopback: true}, "10.0.0.1", false},
		{FetchConfig{}, "127.255.0.1", false},
	} {
		if got := tt.cfg.reachable(netip.MustParseAddr(tt.addr)); got != tt.want {
			t.Errorf("%v %v: %s: %t", tt.cfg.Allow, tt.cfg.Loopback, tt.addr, got)
		}
	}
}

// However an address is written, what the standard library calls local is not
// reached.
func FuzzReachable(f *testing.F) {
	for _, s := range []string{"127.0.0.1", "::1", "64:ff9b::a00:1", "::ffff:169.254.169.254", "::ffff:8.8.8.8", "fe80::1", "8.8.8.8", "2606:4700::1"} {
		f.Add(netip.MustParseAddr(s).AsSlice(), "eth0")
	}
	f.Fuzz(func(t *testing.T, b []byte, zone string) {
		addr, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		plain := addr.Unmap()
		if nat64.Contains(addr) {
			plain = netip.AddrFrom4([4]byte(b[12:]))
		}
		local := plain.IsLoopback() || plain.IsPrivate() || plain.IsUnspecified() || plain.IsLinkLocalUnicast() || plain.IsMulticast() || !plain.IsGlobalUnicast()
		if local && (FetchConfig{}).reachable(addr) {
			t.Errorf("%s is reached", addr)
		}
		if zoned := addr.WithZone(zone); zoned.Zone() != "" && (FetchConfig{}).reachable(zoned) {
			t.Errorf("%s is reached", zoned)
		}
	})
}

func FuzzFetchURI(f *testing.F) {
	for _, s := range []string{"https://rp.example.com/jwks", "https://127.1/", "https://a@b/", "https://[::1%25lo]/", "http://x/"} {
		f.Add(s)
	}
	fetcher := newFetcher(FetchConfig{})
	f.Fuzz(func(t *testing.T, uri string) {
		u, way, err := fetcher.check(uri)
		if err != nil {
			return
		}
		if way == nil || u.Scheme != "https" || u.User != nil || u.Opaque != "" || strings.ContainsFunc(u.Host, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("%q passes as %#v", uri, u)
		}
		if _, err := http.NewRequest("GET", u.String(), nil); err != nil {
			t.Errorf("%q: %v", uri, err)
		}
	})
}

// zone answers questions about addresses with what each name has next; the
// last stays.
type zone struct {
	sync.Mutex
	of map[string][]string
}

func (n *zone) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go n.serve(there)
		return here, nil
	}}
}

// serve speaks DNS over a stream (RFC 1035 §4.2.2).
func (n *zone) serve(c net.Conn) {
	defer c.Close()
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		raw := make([]byte, binary.BigEndian.Uint16(size[:]))
		var m dnsmessage.Message
		if _, err := io.ReadFull(c, raw); err != nil || m.Unpack(raw) != nil {
			return
		}
		q := m.Questions[0]
		m.Response, m.Additionals = true, nil
		if q.Type == dnsmessage.TypeA {
			for _, a := range n.next(q.Name.String()) {
				m.Answers = append(m.Answers, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class},
					Body:   &dnsmessage.AResource{A: a},
				})
			}
		}
		out, err := m.Pack()
		if err != nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)); err != nil {
			return
		}
	}
}

func (n *zone) next(name string) (addrs [][4]byte) {
	n.Lock()
	defer n.Unlock()
	all := n.of[strings.TrimSuffix(name, ".")]
	if len(all) == 0 {
		return nil
	}
	for a := range strings.FieldsSeq(all[0]) {
		addrs = append(addrs, netip.MustParseAddr(a).As4())
	}
	if len(all) > 1 {
		n.of[strings.TrimSuffix(name, ".")] = all[1:]
	}
	return addrs
}

// Names are judged by where they lead, each time.
func TestFetchNames(t *testing.T) {
	t.Parallel()
	s := newRemote(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close") // each fetch asks again
		answerJSON(w, r)
	})
	for name, tt := range map[string]struct {
		answers []string
		why     []string
	}{
		"a name that leads where it may":        {[]string{"127.0.0.1"}, []string{""}},
		"a name that leads to loopback":         {[]string{"127.0.0.2"}, []string{"not to be reached"}},
		"a name that leads to private networks": {[]string{"10.0.0.1 192.168.0.1"}, []string{"not to be reached"}},
		"one of its addresses may be reached":   {[]string{"127.0.0.2 127.0.0.1"}, []string{""}},
		"DNS rebinding":                         {[]string{"127.0.0.1", "127.0.0.2"}, []string{"", "not to be reached"}},
		"a name that leads nowhere":             {nil, []string{"dial"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, c := s.fetcher(prefixes("127.0.0.1/32")...)
			f.dialer.Resolver = (&zone{of: map[string][]string{"rp.example.com": tt.answers}}).resolver()
			for _, why := range tt.why {
				_, err := f.get(t.Context(), s.at("rp.example.com"), anyJSON)
				wantErr(t, err, why)
				c.pass(2 * time.Minute)
				f.ways["https"].(*http.Transport).CloseIdleConnections()
			}
		})
	}
}

// Plain http goes to loopback alone, and only where the issuer does.
func TestFetchPlainHTTP(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(answerJSON))
	t.Cleanup(s.Close)
	for name, tt := range map[string]struct {
		cfg FetchConfig
		uri string
		why string
	}{
		"loopback":                              {FetchConfig{Loopback: true}, s.URL, ""},
		"localhost":                             {FetchConfig{Loopback: true}, strings.Replace(s.URL, "127.0.0.1", "localhost", 1), ""},
		"the issuer is https":                   {FetchConfig{Allow: thisMachine}, s.URL, "not an absolute https address"},
		"another machine":                       {FetchConfig{Loopback: true}, "http://93.184.215.14/", "not to be reached"},
		"another machine of an allowed network": {FetchConfig{Loopback: true, Allow: prefixes("10.0.0.0/8")}, "http://10.0.0.1/", "not to be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := newFetcher(tt.cfg).get(t.Context(), tt.uri, anyJSON)
			wantErr(t, err, tt.why)
		})
	}
}

// RFC 9325 §3.1, §4.2; and nobody is trusted who is not.
func TestFetchTLS(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		tls *tls.Config
		why string
	}{
		"TLS 1.3":             {&tls.Config{MinVersion: tls.VersionTLS13}, ""},
		"TLS 1.2, AEAD":       {&tls.Config{MaxVersion: tls.VersionTLS12}, ""},
		"TLS 1.2, CBC":        {&tls.Config{MaxVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA}}, "handshake failure"},
		"TLS 1.2, no secrecy": {&tls.Config{MaxVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}}, "handshake failure"},
		"TLS 1.1":             {&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "protocol version"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newRemoteTLS(t, tt.tls, answerJSON)
			f, _ := s.fetcher()
			_, err := f.get(t.Context(), s.URL, anyJSON)
			wantErr(t, err, tt.why)
		})
	}
	s := newRemote(t, answerJSON)
	_, err := newFetcher(FetchConfig{Allow: thisMachine}).get(t.Context(), s.URL, anyJSON)
	wantErr(t, err, "unknown authority")
	f, _ := s.fetcher()
	if f.ways["https"].(*http.Transport).Proxy != nil {
		t.Error("a proxy would decide where to go")
	}
}

// The time of a fetch ends while it waits for what never comes.
func TestFetchIsTimed(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]http.HandlerFunc{
		"for a header": func(http.ResponseWriter, *http.Request) {},
		"for a body": func(w http.ResponseWriter, r *http.Request) {
			answerJSON(w, r)
			w.(http.Flusher).Flush()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			over := make(chan context.CancelFunc, 2)
			s := newRemote(t, func(w http.ResponseWriter, r *http.Request) {
				begin(w, r)
				(<-over)()
				<-r.Context().Done()
			})
			f, _ := s.fetcher()
			f.timed = func(ctx context.Context) (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(ctx)
				over <- cancel
				return ctx, cancel
			}
			_, err := f.get(t.Context(), s.URL, anyJSON)
			wantErr(t, err, "context canceled")
			if len(f.all) != 0 {
				t.Error("its room is still taken")
			}
		})
	}
	ctx, cancel := newFetcher(FetchConfig{}).timed(t.Context())
	defer cancel()
	if at, ok := ctx.Deadline(); !ok || time.Until(at) > fetchTimeout {
		t.Errorf("it ends at %v", at)
	}
}

// RFC 9111 §5.2.2, between minAge and maxAge.
func TestFetchRemembers(t *testing.T) {
	t.Parallel()
	for control, age := range map[string]time.Duration{
		"":                                 anyJSON.minAge,
		"max-age=600":                      10 * time.Minute,
		`public, Max-Age="600"`:            10 * time.Minute,
		"max-age=1":                        anyJSON.minAge,
		"max-age=-1":                       anyJSON.minAge,
		"max-age=x":                        anyJSON.minAge,
		"max-age=99999999999999999999":     anyJSON.maxAge,
		"max-age=600, no-store":            anyJSON.minAge,
		"no-cache, max-age=600":            anyJSON.minAge,
		"s-maxage=600, stale-if-error=600": anyJSON.minAge,
	} {
		t.Run(control, func(t *testing.T) {
			t.Parallel()
			s := newRemote(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Cache-Control", control)
				answerJSON(w, r)
			})
			f, c := s.fetcher()
			fetch := func(hits int32) {
				t.Helper()
				if _, err := f.get(t.Context(), s.URL, anyJSON); err != nil || s.hits.Load() != hits {
					t.Fatalf("%d fetches, want %d: %v", s.hits.Load(), hits, err)
				}
			}
			fetch(1)
			c.pass(age - time.Second)
			fetch(1)
			c.pass(time.Second)
			fetch(2)
		})
	}
}

// What one caller takes another may not: documents are known by what they were
// asked for, fragment included (OIDC Core §6.2).
func TestFetchRemembersByQuestion(t *testing.T) {
	t.Parallel()
	s := newRemote(t, func(w http.ResponseWriter, r *http.Request) {
		if r.RequestURI != "/" {
			t.Errorf("asked for %s", r.RequestURI)
		}
		answerJSON(w, r)
	})
	f, _ := s.fetcher()
	short, never := anyJSON, anyJSON
	short.limit, never.minAge, never.maxAge = 1, 0, 0
	for _, o := range []fetchOptions{anyJSON, short, never, never} {
		_, err := f.get(t.Context(), s.URL+"/", o)
		wantErr(t, err, map[bool]string{true: "too large"}[o.limit == 1])
	}
	if _, err := f.get(t.Context(), s.URL+"/#1", anyJSON); err != nil {
		t.Error(err)
	}
	if n := s.hits.Load(); n != 5 {
		t.Errorf("%d fetches, want 5", n)
	}
	if n := len(f.known); n != 3 {
		t.Errorf("%d are remembered, want 3: what is never to be remembered isn't", n)
	}
}

// A host that fails is left alone for a while; what is good stays good.
func TestFetchRemembersFailures(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	s := newRemote(t, func(w http.ResponseWriter, r *http.Request) {
		if broken.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		answerJSON(w, r)
	})
	f, c := s.fetcher()
	step := func(what string, hits int32, why string, fetch func(context.Context, string, fetchOptions) ([]byte, error)) {
		t.Helper()
		_, err := fetch(t.Context(), s.URL, anyJSON)
		wantErr(t, err, why)
		if n := s.hits.Load(); n != hits {
			t.Fatalf("%s: %d fetches, want %d", what, n, hits)
		}
	}
	broken.Store(true)
	step("it fails", 1, "status is 500", f.get)
	broken.Store(false)
	c.pass(failureAge - time.Second)
	step("it is not asked again", 1, "status is 500", f.get)
	c.pass(time.Second)
	step("it is asked again", 2, "", f.get)
	step("what is fresh stays", 2, "", f.fresh)
	c.pass(refetchAfter - time.Second)
	step("a second short of a minute", 2, "", f.fresh)
	c.pass(time.Second)
	step("a minute later", 3, "", f.fresh)
	c.pass(refetchAfter - time.Second)
	broken.Store(true)
	step("still good", 3, "", f.get)
	c.pass(time.Second)
	step("fails when old", 4, "status is 500", f.fresh)
	step("and is remembered", 4, "status is 500", f.fresh)
}

func TestFetchOldKnownWhileRefetchFails(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	s := newRemote(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		if broken.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		answerJSON(w, r)
	})
	f, c := s.fetcher()
	_, err := f.get(t.Context(), s.URL, anyJSON)
	wantErr(t, err, "")
	broken.Store(true)
	c.pass(refetchAfter)
	_, err = f.fresh(t.Context(), s.URL, anyJSON)
	wantErr(t, err, "status is 500")
	_, err = f.get(t.Context(), s.URL, anyJSON)
	wantErr(t, err, "")
	c.pass(10 * time.Minute)
	_, err = f.get(t.Context(), s.URL, anyJSON)
	wantErr(t, err, "status is 500")
}

func TestFetchOnceForManyAtOnce(t *testing.T) {
	t.Parallel()
	s := newRemote(t, answerJSON)
	f, _ := s.fetcher()
	start := make(chan struct{})
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			<-start
			if body, err := f.get(t.Context(), s.URL, anyJSON); err != nil || string(body) != `{}` {
				t.Errorf("%q, %v", body, err)
			}
		})
	}
	close(start)
	wg.Wait()
	if n := s.hits.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

// Who asked first may leave; the others get their answer.
func TestFetchOutlivesWhoAsked(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}), make(chan struct{})
	s := newRemote(t, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-release
		answerJSON(w, r)
	})
	f, _ := s.fetcher()
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := f.get(ctx, s.URL, anyJSON)
		left <- err
	}()
	<-arrived
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
	close(release)
	_, err := f.get(t.Context(), s.URL, anyJSON)
	wantErr(t, err, "")
	if n := s.hits.Load(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

// A slow host holds maxFetchesOfHost at most, all hosts together maxFetches;
// waiting for room is no failure of the host.
func TestFetchBounds(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int32
	arrived, release := make(chan struct{}, 100), make(chan struct{})
	s := newRemote(t, func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		arrived <- struct{}{}
		<-release
		answerJSON(w, r)
	})
	f, _ := s.fetcher()
	var wg sync.WaitGroup
	for i := range 3 * maxFetchesOfHost {
		wg.Go(func() {
			_, err := f.get(t.Context(), fmt.Sprint(s.URL, "/", i), anyJSON)
			if err != nil {
				t.Error(err)
			}
		})
	}
	for range maxFetchesOfHost {
		<-arrived
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := f.post(over, s.URL, nil)
	wantErr(t, err, "too many fetches")
	close(release)
	wg.Wait()
	if most.Load() != maxFetchesOfHost {
		t.Errorf("%d at once", most.Load())
	}

	f, _ = s.fetcher()
	for range maxFetches {
		f.all <- struct{}{}
	}
	timed := f.timed
	f.timed = func(ctx context.Context) (context.Context, context.CancelFunc) { return over, cancel }
	_, err = f.get(t.Context(), s.URL, anyJSON)
	wantErr(t, err, "too many fetches")
	for range 64 {
		if _, err := f.enter(over, "rp.example.com"); err == nil {
			t.Fatal("there was no room")
		}
	}
	for _, lane := range f.lanes {
		if len(lane) != 0 {
			t.Error("who got no room holds some")
		}
	}
	for range maxFetches {
		<-f.all
	}
	f.timed = timed
	_, err = f.get(t.Context(), s.URL, anyJSON)
	wantErr(t, err, "")
}

func TestFetchedIsBounded(t *testing.T) {
	t.Parallel()
	f := newFetcher(FetchConfig{})
	check := func() {
		t.Helper()
		size := 0
		for _, d := range f.known {
			size += len(d.body)
		}
		if size != f.size || size > maxFetchedBytes || len(f.known) > maxFetched {
			t.Fatalf("%d documents, %d bytes, %d counted", len(f.known), size, f.size)
		}
	}
	for i := range 2 * maxFetched {
		f.keep(fmt.Sprint(i), fetched{body: make([]byte, i%7)})
		check()
	}
	for i := range 40 {
		f.keep(fmt.Sprint(i%30), fetched{body: make([]byte, 1<<20)})
		check()
	}
}

// OIDC Back-Channel Logout §2.5, §2.8.
func TestPost(t *testing.T) {
	t.Parallel()
	for status, why := range map[int]string{200: "", 204: "", 400: "", 503: "", 307: "redirects are not followed"} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			s := newRemote(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method != "POST" || r.PostFormValue("logout_token") != "a.b.c" || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
					t.Errorf("%s %v %v", r.Method, r.Header, r.PostForm)
				}
				w.Header().Set("Location", "/")
				w.WriteHeader(status)
				if status == 200 {
					for _, err := w.Write(make([]byte, 1<<10)); err == nil; _, err = w.Write(make([]byte, 1<<10)) {
					}
				}
			})
			f, _ := s.fetcher()
			for n := range int32(2) { // nothing is remembered
				got, err := f.post(t.Context(), s.URL, url.Values{"logout_token": {"a.b.c"}})
				wantErr(t, err, why)
				if err == nil && got != status || s.hits.Load() != n+1 {
					t.Errorf("status %d after %d posts", got, s.hits.Load())
				}
			}
		})
	}
}

func TestFetchErrorsTellHostsOnly(t *testing.T) {
	t.Parallel()
	f := newFetcher(FetchConfig{})
	for _, uri := range []string{"https://localhost/private?token=secret", "https://127.1/private?token=secret", "https://ada:secret@rp.example.com/private", "http://rp.example.com/private"} {
		_, err := f.get(t.Context(), uri, anyJSON)
		var fe *fetchError
		if !errors.As(err, &fe) || fe.host == "" || !strings.Contains(err.Error(), fe.host) {
			t.Errorf("%v does not say where", err)
		}
		if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "private") {
			t.Errorf("%v says too much", err)
		}
	}
}
