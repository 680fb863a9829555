package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// forgedCaller is an address that nobody has (RFC 5737 §3), which the doctor
// claims to come from.
const forgedCaller = "192.0.2.66"

// ownCertificate looks at the certificate of the settings.
func (d *doctor) ownCertificate(context.Context) {
	s := d.settings
	if s.TLS.CertFile == "" {
		return // the one that the issuer shows is looked at there
	}
	pair, err := tls.LoadX509KeyPair(s.TLS.CertFile, s.TLS.KeyFile)
	if err != nil {
		d.fail("tls", fmt.Sprintf("%s and %s: %v", s.TLS.CertFile, s.TLS.KeyFile, err), "give a certificate and its own key, both in PEM")
		return
	}
	d.certificate("tls", pair.Leaf)
}

// certificate looks at how long a certificate is good, and for whom.
func (d *doctor) certificate(check string, leaf *x509.Certificate) {
	issuer, err := url.Parse(d.settings.Issuer)
	if err != nil { // it was valid
		return
	}
	left := leaf.NotAfter.Sub(d.now())
	what := "the certificate expires on " + leaf.NotAfter.UTC().Format(time.DateOnly)
	switch {
	case left <= 0:
		d.fail(check, strings.Replace(what, "expires", "has expired", 1), "renew it")
	case leaf.VerifyHostname(issuer.Hostname()) != nil:
		d.fail(check, "the certificate is not for "+issuer.Hostname(), "get one for the host of the issuer")
	case left < certificateSoon:
		d.warn(check, what, "see why it is not renewed by itself")
	default:
		d.ok(check, what)
	}
}

// issuer asks the running server, by the address that everyone has.
func (d *doctor) issuer(ctx context.Context) {
	address := d.settings.Issuer + "/.well-known/openid-configuration"
	before := d.now()
	res, body, err := d.get(ctx, address, nil)
	if err != nil {
		d.fail("issuer", fmt.Sprintf("%s cannot be reached from here: %v", address, err),
			"see that sealpost serve runs, and that DNS, firewall and proxy lead there")
		return
	}
	var metadata struct{ Issuer string }
	switch {
	case res.StatusCode/100 == 3:
		d.fail("issuer", fmt.Sprintf("%s answers with a redirect to %s", address, res.Header.Get("Location")), "let the proxy pass requests on as they are")
		return
	case res.StatusCode != http.StatusOK || json.Unmarshal(body, &metadata) != nil:
		d.fail("issuer", fmt.Sprintf("%s answers with status %d, and not as Sealpost does", address, res.StatusCode), "let the proxy pass on every path, and Host as it came")
		return
	case metadata.Issuer != d.settings.Issuer:
		d.fail("issuer", fmt.Sprintf("%s says that it is %q", address, metadata.Issuer), "give the server there the same settings, or the name another address")
		return
	}
	d.ok("issuer", "answers from here, as "+d.settings.Issuer)
	if at, err := http.ParseTime(res.Header.Get("Date")); err == nil { // in whole seconds
		d.clock("issuer clock", at, before, d.now(), time.Second)
	}
	if res.TLS != nil && d.settings.TLS.CertFile == "" {
		d.certificate("issuer tls", res.TLS.PeerCertificates[0])
	}
	d.proxies(ctx)
}

// get asks once, without following redirects.
func (d *doctor) get(ctx context.Context, address string, header http.Header) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	res, err := d.transport.RoundTrip(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	return res, body, err
}

// seen asks the server what of a request arrives there.
func (d *doctor) seen(ctx context.Context, header http.Header) (hops, error) {
	secret, err := d.settings.secrets()
	if err != nil {
		return hops{}, err
	}
	header.Set(doctorHeader, doctorToken(secret, d.settings.Issuer, d.now()))
	_, body, err := d.get(ctx, d.settings.Issuer+"/healthz", header)
	if err != nil {
		return hops{}, err
	}
	var h hops
	if json.Unmarshal(body, &h) != nil || h.Peer == "" {
		return hops{}, errors.New("the server there has another secret, clock or version")
	}
	return h, nil
}

// proxies looks at what arrives behind the proxies, and what is believed.
func (d *doctor) proxies(ctx context.Context) {
	plain, err := d.seen(ctx, http.Header{})
	if err != nil {
		d.warn("proxies", fmt.Sprintf("what arrives behind them is not known: %v", err), "run doctor with the settings that the server has")
		return
	}
	inFront := strings.HasPrefix(d.settings.Issuer, "https:") && d.settings.TLS.CertFile == "" // somebody else does TLS
	const fixForward = "let it set X-Forwarded-For to the address of who connected"
	switch {
	case len(plain.Forwarded) == 0 && (plain.Trusted || inFront):
		fix := fixForward
		if !plain.Trusted {
			fix += ", and name it: trusted_proxies: [" + plain.Peer + "]"
		}
		d.fail("proxies", fmt.Sprintf("%s does not say whom a request is from, and counts as everyone", plain.Peer), fix)
		return
	case len(plain.Forwarded) == 0:
		d.ok("proxies", "there are none; a request from here is seen from "+plain.Client)
		return
	case !plain.Trusted:
		d.fail("proxies", fmt.Sprintf("%s is not believed and counts as everyone: the limit per network is one for all", plain.Peer), "trusted_proxies: ["+plain.Peer+"]")
		return
	}
	forged, err := d.seen(ctx, http.Header{"X-Forwarded-For": {forgedCaller}})
	first, _ := parseAddr(plain.Forwarded[0])
	switch {
	case err != nil:
		d.warn("proxies", fmt.Sprintf("a request with X-Forwarded-For gets no answer: %v", err), "see what the proxy does with it")
	case forged.Client == forgedCaller && forged.Forwarded[len(forged.Forwarded)-1] == forgedCaller:
		d.fail("proxies", "what a caller writes into X-Forwarded-For is believed: anyone can be from anywhere",
			fixForward+" in place of what came, and name no networks of callers in trusted_proxies")
	case first.String() != plain.Client:
		d.warn("proxies", fmt.Sprintf("a request from here came from %s by %s, and is seen from %s", plain.Forwarded[0], strings.Join(plain.Forwarded[1:], ", "), plain.Client),
			"if "+plain.Client+" is a proxy of yours, too: name it in trusted_proxies")
	case forged.Client == forgedCaller: // what came was added to, as it should be, and we are on a machine that is believed
		d.ok("proxies", fmt.Sprintf("%s is believed, and so is this machine, %s", plain.Peer, plain.Client))
	default:
		d.ok("proxies", fmt.Sprintf("%s is believed; a request from here is seen from %s", plain.Peer, plain.Client))
	}
}
