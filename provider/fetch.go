package provider

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// FetchConfig says where the provider may go by itself, for addresses that
// clients name: jwks_uri, request_uri, sector_identifier_uri, client metadata
// documents, back-channel logout.
type FetchConfig struct {
	Allow    []netip.Prefix   // networks that may be reached though they are not public
	Loopback bool             // the issuer is a loopback http address: so may be what clients name
	RootCAs  *x509.CertPool   // nil: those of the system
	Now      func() time.Time // nil: time.Now
}

// Bounds of what clients can make the provider do.
const (
	fetchTimeout     = 5 * time.Second  // of a whole exchange, waiting for room included
	failureAge       = 10 * time.Second // how long a failure is the answer
	refetchAfter     = time.Minute      // how old a document is before fresh asks again
	maxFetches       = 32               // at once
	maxFetchesOfHost = 4
	maxFetchURI      = 2048
	maxFetchHeader   = 16 << 10
	maxFetched       = 1000 // documents and failures that are remembered
	maxFetchedBytes  = 16 << 20
)

// Reasons not to fetch, or not to take what came.
var (
	errFetchURI     = errors.New("not an absolute https address without user information")
	errFetchHost    = errors.New("the host is neither a name nor an address in its usual spelling")
	errFetchNetwork = errors.New("the address is in a network that is not to be reached")
	errFetchBusy    = errors.New("too many fetches are under way")
	errRedirect     = errors.New("redirects are not followed")
	errEncoding     = errors.New("the answer is encoded, which was not asked for")
	errTooLarge     = errors.New("the document is too large")
)

// fetchError is for the log: it names the host, and neither path nor query.
type fetchError struct {
	host string
	err  error
}

func (e *fetchError) Error() string {
	return "fetch from " + strconv.Quote(e.host) + ": " + e.err.Error()
}

func (e *fetchError) Unwrap() error { return e.err }

// fetcher gets documents from, and posts to, addresses that clients name
// (OIDC Core §17, RFC 9101 §10.4, RFC 7591 §5: server-side request forgery).
// Where a connection goes is decided on the address it is made to, after names
// are resolved, so no name and no second answer of a name leads elsewhere. It
// uses no proxy, follows no redirect, sends no cookie, and holds a bounded
// number of connections and bytes.
type fetcher struct {
	now     func() time.Time
	timed   func(context.Context) (context.Context, context.CancelFunc)
	dialer  *net.Dialer
	ways    map[string]http.RoundTripper // by scheme
	seed    maphash.Seed
	all     chan struct{}
	lanes   [64]chan struct{} // a host has one of them, maybe with others
	mu      sync.Mutex
	known   map[string]fetched
	size    int // bytes of known
	flights map[string]*flight
}

// fetched is a document, or that there was none, or both: a failure leaves what
// is still good.
type fetched struct {
	body      []byte
	at, until time.Time
	err       error
	retry     time.Time // until then err is the answer
}

// flight is a fetch that is under way.
type flight struct {
	done chan struct{}
	body []byte
	err  error
}

func newFetcher(cfg FetchConfig) *fetcher {
	f := &fetcher{
		now: cfg.Now,
		timed: func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, fetchTimeout)
		},
		dialer:  &net.Dialer{Timeout: fetchTimeout},
		seed:    maphash.MakeSeed(),
		all:     make(chan struct{}, maxFetches),
		known:   map[string]fetched{},
		flights: map[string]*flight{},
	}
	if f.now == nil {
		f.now = time.Now
	}
	for i := range f.lanes {
		f.lanes[i] = make(chan struct{}, maxFetchesOfHost)
	}
	f.ways = map[string]http.RoundTripper{"https": f.way(cfg, cfg.reachable)}
	if cfg.Loopback {
		f.ways["http"] = f.way(cfg, netip.Addr.IsLoopback)
	}
	return f
}

// way is a transport to the addresses that may be reached.
func (f *fetcher) way(cfg FetchConfig, reachable func(netip.Addr) bool) *http.Transport {
	control := func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil || !reachable(to.Addr().Unmap()) {
			return errFetchNetwork
		}
		return nil
	}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		d := *f.dialer
		d.Control = control
		return d.DialContext(ctx, network, address)
	}
	return &http.Transport{
		DialContext:            dial,
		TLSClientConfig:        fetchTLS(cfg.RootCAs),
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxFetchHeader,
		TLSHandshakeTimeout:    fetchTimeout,
		ResponseHeaderTimeout:  fetchTimeout,
		IdleConnTimeout:        30 * time.Second,
		MaxIdleConns:           maxFetches,
		MaxIdleConnsPerHost:    1,
	}
}

// CipherSuites are those of TLS 1.2 with AEAD and forward secrecy (RFC 9325
// §4.2), for what we fetch and for who asks us.
var CipherSuites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// fetchTLS is TLS 1.2 with CipherSuites, or better.
func fetchTLS(roots *x509.CertPool) *tls.Config {
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, CipherSuites: CipherSuites}
}

// Networks of the IANA special-purpose registries (RFC 6890) that are not the
// public internet. Of IPv6, what is not global unicast (2000::/3) isn't either.
var specialNetworks = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
	"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
	"224.0.0.0/4", "240.0.0.0/4",
	"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", // protocols and Teredo, documentation, 6to4
)

var (
	globalUnicast = netip.MustParsePrefix("2000::/3")
	nat64         = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052 §2.1
)

func prefixes(all ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(all))
	for i, p := range all {
		list[i] = netip.MustParsePrefix(p)
	}
	return list
}

// reachable says whether a connection may go to the address: it is public, or
// in a network that is allowed, or loopback where that is the issuer's. An IPv4
// address inside an IPv6 one counts as the former.
func (c FetchConfig) reachable(addr netip.Addr) bool {
	contains := func(p netip.Prefix) bool { return p.Contains(addr) }
	if addr.Zone() != "" {
		return false
	}
	if slices.ContainsFunc(c.Allow, contains) {
		return true
	}
	if addr.Is4In6() {
		return c.reachable(addr.Unmap())
	}
	if nat64.Contains(addr) {
		b := addr.As16()
		return c.reachable(netip.AddrFrom4([4]byte(b[12:])))
	}
	if addr.IsLoopback() {
		return c.Loopback
	}
	return (addr.Is4() || globalUnicast.Contains(addr)) && !slices.ContainsFunc(specialNetworks, contains)
}

// check reads an address that a client named, and finds the way there. Ports
// are free; a fragment, which stays here (RFC 9110 §4.2.4), is too.
func (f *fetcher) check(uri string) (*url.URL, http.RoundTripper, error) {
	u, err := url.Parse(uri)
	if err != nil || len(uri) > maxFetchURI {
		return nil, nil, &fetchError{"", errFetchURI}
	}
	host := strings.ToLower(u.Hostname())
	way, ok := f.ways[u.Scheme]
	switch {
	case !ok || u.User != nil || host == "":
		return nil, nil, &fetchError{host, errFetchURI}
	case !plainHost(host):
		return nil, nil, &fetchError{host, errFetchHost}
	}
	return u, way, nil
}

// plainHost takes addresses as everyone writes them, and names of letters,
// digits and hyphens under a top-level domain, which no number is: resolvers
// read 0x7f000001 or 127.1 as addresses (RFC 3986 §7.4).
func plainHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Zone() == ""
	}
	name := strings.TrimSuffix(host, ".")
	top := name[strings.LastIndex(name, ".")+1:]
	strange := func(r rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789-_.", r) }
	return !strings.ContainsFunc(name, strange) && top != "" && top[0] >= 'a'
}

// fetchOptions are what a document may be, and for how long it is believed.
type fetchOptions struct {
	limit          int64
	types          []string // media types; nil: any
	minAge, maxAge time.Duration
}

// get fetches a document: at most limit bytes, of one of the media types. It is
// remembered for as long as its Cache-Control says (RFC 9111 §5.2.2.1), between
// minAge and maxAge, and shared: nobody writes to it.
func (f *fetcher) get(ctx context.Context, uri string, o fetchOptions) ([]byte, error) {
	return f.load(ctx, uri, o, func(d fetched, now time.Time) bool { return now.Before(d.until) })
}

// fresh is get for who misses something in a document: one older than
// refetchAfter is fetched again.
func (f *fetcher) fresh(ctx context.Context, uri string, o fetchOptions) ([]byte, error) {
	return f.load(ctx, uri, o, func(d fetched, now time.Time) bool { return now.Before(d.at.Add(refetchAfter)) })
}

// load gives a document that is known and good, or fetches it. Who asks for the
// same at once waits for one fetch, which goes on when they leave.
func (f *fetcher) load(ctx context.Context, uri string, o fetchOptions, good func(fetched, time.Time) bool) ([]byte, error) {
	u, _, err := f.check(uri)
	if err != nil {
		return nil, err
	}
	key := fmt.Sprint(o, uri)
	f.mu.Lock()
	now, d := f.now(), f.known[key]
	if good(d, now) || now.Before(d.retry) {
		f.mu.Unlock()
		if good(d, now) {
			return d.body, nil
		}
		return nil, d.err
	}
	fl, ok := f.flights[key]
	if !ok {
		fl = &flight{done: make(chan struct{})}
		f.flights[key] = fl
		go f.fly(context.WithoutCancel(ctx), fl, key, uri, o)
	}
	f.mu.Unlock()
	select {
	case <-fl.done:
		return fl.body, fl.err
	case <-ctx.Done():
		return nil, &fetchError{u.Hostname(), ctx.Err()}
	}
}

// fly fetches a document and remembers how that went, unless it never left.
func (f *fetcher) fly(ctx context.Context, fl *flight, key, uri string, o fetchOptions) {
	at := f.now()
	var age time.Duration
	header := http.Header{"Accept": {"*/*"}}
	if o.types != nil {
		header.Set("Accept", strings.Join(o.types, ", "))
	}
	fl.err = f.send(ctx, http.MethodGet, uri, header, nil, func(resp *http.Response) (err error) {
		age = min(max(maxAgeOf(resp.Header), o.minAge), o.maxAge)
		fl.body, err = o.read(resp)
		return err
	})
	f.mu.Lock()
	d := f.known[key]
	switch {
	case fl.err == nil && o.maxAge > 0:
		f.keep(key, fetched{body: fl.body, at: at, until: at.Add(age)})
	case fl.err != nil && !errors.Is(fl.err, errFetchBusy):
		d.err, d.retry = fl.err, f.now().Add(failureAge)
		f.keep(key, d)
	}
	delete(f.flights, key)
	f.mu.Unlock()
	close(fl.done)
}

// keep remembers a document, and forgets any when there are too many: which
// one is left to chance, so that nobody can aim.
func (f *fetcher) keep(key string, d fetched) {
	f.size += len(d.body) - len(f.known[key].body)
	f.known[key] = d
	for k, d := range f.known {
		if len(f.known) <= maxFetched && f.size <= maxFetchedBytes {
			return
		}
		f.size -= len(d.body)
		delete(f.known, k)
	}
}

// isAway says whether err means that a host could not be consulted now: what it
// would have said is not known.
func isAway(err error) bool {
	var fetching *fetchError
	var bad badDocument
	if !errors.As(err, &fetching) || errors.As(err, &bad) {
		return false
	}
	for _, final := range []error{errFetchURI, errFetchHost, errFetchNetwork, errRedirect} {
		if errors.Is(err, final) {
			return false
		}
	}
	return true
}

// badDocument is an answer that is no document, whenever it is asked for.
type badDocument struct{ error }

// read takes a document that is what it should be.
func (o fetchOptions) read(resp *http.Response) ([]byte, error) {
	media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests:
		return nil, fmt.Errorf("the status is %d", resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		return nil, badDocument{fmt.Errorf("the status is %d", resp.StatusCode)}
	case o.types != nil && (err != nil || !slices.Contains(o.types, media)):
		return nil, badDocument{fmt.Errorf("the media type is %q", media)}
	case resp.Header.Get("Content-Encoding") != "":
		return nil, badDocument{errEncoding}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, o.limit+1))
	if err == nil && int64(len(body)) > o.limit {
		err = badDocument{errTooLarge}
	}
	if err != nil {
		return nil, err
	}
	return body, nil
}

// maxAgeOf reads max-age; 0 when there is none, or when the answer is not to be
// kept.
func maxAgeOf(h http.Header) time.Duration {
	age := 0
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		switch name {
		case "no-store", "no-cache":
			return 0
		case "max-age":
			age, _ = strconv.Atoi(strings.Trim(value, `"`))
		}
	}
	return time.Duration(min(max(age, 0), 1<<31)) * time.Second
}

// post sends a form, and gives the status. What comes back is not read (OIDC
// Back-Channel Logout §2.5).
func (f *fetcher) post(ctx context.Context, uri string, form url.Values) (status int, err error) {
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	err = f.send(ctx, http.MethodPost, uri, header, strings.NewReader(form.Encode()), func(resp *http.Response) error {
		status = resp.StatusCode
		return nil
	})
	return status, err
}

// send sends a request when there is room for it, and reads the answer.
func (f *fetcher) send(ctx context.Context, method, uri string, header http.Header, body io.Reader, read func(*http.Response) error) error {
	u, way, err := f.check(uri)
	if err != nil {
		return err
	}
	ctx, cancel := f.timed(ctx)
	defer cancel()
	if err := f.exchange(ctx, way, method, u, header, body, read); err != nil {
		return &fetchError{u.Hostname(), err}
	}
	return nil
}

func (f *fetcher) exchange(ctx context.Context, way http.RoundTripper, method string, u *url.URL, header http.Header, body io.Reader, read func(*http.Response) error) error {
	leave, err := f.enter(ctx, strings.ToLower(u.Hostname()))
	if err != nil {
		return err
	}
	defer leave()
	r, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return errFetchURI
	}
	r.Header = header
	r.Header.Set("User-Agent", "sealpost")
	r.Header.Set("Accept-Encoding", "identity")
	resp, err := way.RoundTrip(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // what was wanted is read
	if resp.StatusCode/100 == 3 {
		return errRedirect
	}
	return read(resp)
}

// enter waits for room, of the host before that of all: who waits for a host
// that does not answer is in nobody else's way.
func (f *fetcher) enter(ctx context.Context, host string) (leave func(), err error) {
	lane := f.lanes[maphash.String(f.seed, host)%uint64(len(f.lanes))]
	select {
	case lane <- struct{}{}:
	case <-ctx.Done():
		return nil, errFetchBusy
	}
	select {
	case f.all <- struct{}{}:
	case <-ctx.Done():
		<-lane
		return nil, errFetchBusy
	}
	return func() { <-f.all; <-lane }, nil
}
