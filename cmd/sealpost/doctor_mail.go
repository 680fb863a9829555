package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"blitiri.com.ar/go/spf"
	"golang.org/x/net/publicsuffix"

	"github.com/sealpost/sealpost/login"
)

// mailServer goes as far with the mail server as one can without a mail.
func (d *doctor) mailServer(ctx context.Context) {
	m := d.settings.Mail
	server, err := login.ParseMailURL(string(m.URL))
	if err != nil { // it was valid
		d.fail("mail server", err.Error(), "")
		return
	}
	if _, err := d.addresses(ctx, server.Host()); err != nil {
		d.fail("mail server", fmt.Sprintf("the name %s leads nowhere: %v", server.Host(), err), "check the host in mail.url and the resolver of this machine")
		return
	}
	if fix, err := login.CheckServer(ctx, server, m.From); err != nil {
		d.fail("mail server", fmt.Sprintf("%s: %v", server, err), fix)
		return
	}
	d.ok("mail server", fmt.Sprintf("%s lets us in; whether it takes mail from %s shows: sealpost mail test", server, m.From))
}

func (d *doctor) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	return d.resolver.LookupNetIP(ctx, "ip", host)
}

// mailDomain looks at what the DNS tells receivers of the sender's domain.
func (d *doctor) mailDomain(ctx context.Context) {
	m := d.settings.Mail
	domain := Mail{From: m.From}.signingDomain()
	server, err := login.ParseMailURL(string(m.URL))
	if err != nil || isLoopback(domain) { // mail from here to here
		return
	}
	d.mx(ctx, domain)
	passes := d.spf(ctx, domain, server)
	signs := d.dkim(ctx, domain, server)
	d.dmarc(ctx, domain, passes, signs)
}

// notFound says whether there surely is no such record.
func notFound(err error) bool {
	var e *net.DNSError
	return errors.As(err, &e) && e.IsNotFound
}

// unasked tells of a DNS that did not answer.
func (d *doctor) unasked(check string, err error) {
	d.warn(check, "the DNS did not answer: "+err.Error(), "try again, or check the resolver of this machine")
}

// mx: many receivers take no mail from a domain that takes none (RFC 7505 §4.2).
func (d *doctor) mx(ctx context.Context, domain string) {
	found, err := d.resolver.LookupMX(ctx, domain)
	switch {
	case err != nil && !notFound(err):
		d.unasked("mx", err)
		return
	case len(found) == 1 && found[0].Host == ".":
		d.warn("mx", domain+" says that it takes no mail, and receivers may refuse mail from it", "publish an MX record, or send from a domain that has one")
		return
	case len(found) > 0:
		d.ok("mx", fmt.Sprintf("%s takes mail at %s", domain, strings.TrimSuffix(found[0].Host, ".")))
		return
	}
	if _, err := d.addresses(ctx, domain); err != nil {
		d.warn("mx", domain+" has neither an MX record nor an address, and receivers may refuse mail from it", "publish an MX record, or send from a domain that has one")
		return
	}
	d.ok("mx", domain+" takes mail at its own address (it has no MX record)")
}

// spf says whether the mail server may send for the domain, as far as that can
// be known: a mail service may send from other machines than the one that takes
// mail from us.
func (d *doctor) spf(ctx context.Context, domain string, server login.MailServer) (passes bool) {
	suggested := d.settings.Mail.policyRecords()[0]
	if server.Signs() {
		domain = "cf-bounce." + domain // Cloudflare's envelope, which relaxed alignment takes
		suggested.Value = "v=spf1 include:_spf.mx.cloudflare.net ~all"
	}
	records, err := d.records(ctx, domain, "v=spf1")
	switch {
	case err != nil:
		d.unasked("spf", err)
		return false
	case len(records) == 0:
		d.warn("spf", domain+" does not say who may send for it", fmt.Sprintf("publish a TXT record %s: %s", domain, suggested.Value))
		return false
	case len(records) > 1:
		d.fail("spf", fmt.Sprintf("%s has %d SPF records, which counts as an error (RFC 7208 §4.5)", domain, len(records)), "make one of them")
		return false
	case server.Signs():
		if !strings.Contains(records[0], "include:_spf.mx.cloudflare.net") {
			d.fail("spf", fmt.Sprintf("%s says %q, without Cloudflare", domain, records[0]), "publish a TXT record "+domain+": "+suggested.Value)
			return false
		}
		d.ok("spf", domain+" lets Cloudflare send")
		return true
	}
	from, err := d.addresses(ctx, server.Host())
	if err != nil || len(from) == 0 || from[0].IsLoopback() || from[0].IsPrivate() {
		d.ok("spf", fmt.Sprintf("%s says %q; from which address %s sends cannot be seen from here", domain, records[0], server.Host()))
		return true
	}
	for _, addr := range from {
		result, err := spf.CheckHostWithSender(addr.AsSlice(), domain, "postmaster@"+domain, spf.WithResolver(d.resolver), spf.WithContext(ctx))
		switch result {
		case spf.Pass:
		case spf.PermError:
			d.fail("spf", fmt.Sprintf("%s says %q, which is in error: %v", domain, records[0], err), "mend the record")
			return false
		case spf.TempError:
			d.unasked("spf", err)
			return false
		default:
			d.warn("spf", fmt.Sprintf("%s does not list %s (%s)", domain, addr, server.Host()),
				"unless your mail service sends from other addresses and its include: is there, add "+strings.Fields(suggested.Value)[1])
			return false
		}
	}
	d.ok("spf", fmt.Sprintf("%s lets %s send", domain, server.Host()))
	return true
}

// records are the TXT records of a name that begin with a version.
func (d *doctor) records(ctx context.Context, name, version string) ([]string, error) {
	found, err := d.resolver.LookupTXT(ctx, name)
	if err != nil && !notFound(err) {
		return nil, err
	}
	var out []string
	for _, txt := range found {
		if rest, ok := strings.CutPrefix(strings.ToLower(txt), strings.ToLower(version)); ok && (rest == "" || strings.ContainsAny(rest[:1], " ;")) {
			out = append(out, txt)
		}
	}
	return out, nil
}

// dkim compares the keys that sign with those the DNS has.
func (d *doctor) dkim(ctx context.Context, domain string, server login.MailServer) (signs bool) {
	if server.Signs() {
		name := "cf-bounce._domainkey." + domain
		found, err := d.resolver.LookupTXT(ctx, name)
		switch {
		case err != nil && !notFound(err):
			d.unasked("dkim", err)
			return false
		case len(found) == 0:
			d.fail("dkim", "there is no record "+name+" for Cloudflare's key", "onboard the domain in Cloudflare's Email Service")
			return false
		}
		d.ok("dkim", "Cloudflare signs, with the key "+name)
		return true
	}
	signing, err := d.settings.Mail.dkimKeys()
	if err != nil {
		d.fail("dkim", err.Error(), "")
		return false
	}
	if len(signing) == 0 {
		d.warn("dkim", "whether the mail server signs cannot be seen from here", "look at the DKIM-Signature of a mail from sealpost mail test; if there is none of "+domain+", sign here: sealpost mail dkim --new dkim.pem --selector s1")
		return false
	}
	signs = true
	for _, k := range signing {
		found, err := d.resolver.LookupTXT(ctx, k.String())
		publish := fmt.Sprintf("publish a TXT record %s: %s", k, login.DKIMRecord(k))
		switch {
		case err != nil && !notFound(err):
			d.unasked("dkim", err)
			signs = false
		case len(found) == 0:
			d.fail("dkim", fmt.Sprintf("there is no record %s for the key that signs", k), publish)
			signs = false
		case !sameKey(found[0], login.DKIMRecord(k)):
			d.fail("dkim", fmt.Sprintf("the record %s is of another key than the one that signs", k), publish+"; or put the key that belongs to the record into the settings")
			signs = false
		default:
			d.ok("dkim", fmt.Sprintf("the record %s is that of the key that signs", k))
		}
	}
	return signs
}

// sameKey compares two key records by what they say (RFC 6376 §3.6.1).
func sameKey(a, b string) bool {
	one, other := tags(a), tags(b)
	for _, t := range []map[string]string{one, other} {
		if t["k"] == "" {
			t["k"] = "rsa"
		}
	}
	return one["k"] == other["k"] && one["p"] == other["p"] && one["p"] != ""
}

// tags reads a tag list (RFC 6376 §3.2, RFC 7489 §6.4). Blanks are left out.
func tags(record string) map[string]string {
	out := map[string]string{}
	for tag := range strings.SplitSeq(record, ";") {
		name, value, _ := strings.Cut(tag, "=")
		out[strings.ToLower(strings.TrimSpace(name))] = strings.Join(strings.Fields(value), "")
	}
	return out
}

// dmarc looks at the policy (RFC 7489 §6.6.3), and whether our mail would pass
// it. The envelope has the sender's own domain, so that SPF aligns when it
// passes.
func (d *doctor) dmarc(ctx context.Context, domain string, passes, signs bool) {
	at := "_dmarc." + domain
	records, err := d.records(ctx, at, "v=DMARC1")
	if above, e := publicsuffix.EffectiveTLDPlusOne(domain); err == nil && len(records) == 0 && e == nil && above != domain {
		at = "_dmarc." + above
		records, err = d.records(ctx, at, "v=DMARC1")
	}
	switch {
	case err != nil:
		d.unasked("dmarc", err)
		return
	case len(records) == 0:
		suggested := d.settings.Mail.policyRecords()[1]
		d.warn("dmarc", fmt.Sprintf("%s has no policy, and big receivers want one", domain), fmt.Sprintf("publish a TXT record %s: %s", suggested.Name, suggested.Value))
		return
	case len(records) > 1:
		d.fail("dmarc", fmt.Sprintf("%s has %d policies, which count as none (RFC 7489 §6.6.3)", at, len(records)), "leave one")
		return
	}
	policy := tags(records[0])
	effective := policy["p"]
	if at != "_dmarc."+domain && policy["sp"] != "" {
		effective = policy["sp"]
	}
	signer, _ := login.SenderDomain("x@" + d.settings.Mail.signingDomain())
	switch {
	case policy["adkim"] == "s" && signs && signer != domain && d.settings.Mail.DKIM != (DKIM{}):
		d.fail("dmarc", fmt.Sprintf("%s wants signatures of %s itself (adkim=s), and %s signs", at, domain, signer), "set mail.dkim.domain to "+domain+", or take adkim=s away")
	case !passes && !signs && (effective == "reject" || effective == "quarantine"):
		d.warn("dmarc", fmt.Sprintf("the policy is %s, and neither SPF nor DKIM is known to be right", effective), "mend one of the two above, or mail may go astray")
	case effective == "none":
		d.warn("dmarc", "the policy is none: receivers take mail that others send in the name of "+domain, "when the reports show no mail of yours that fails, write p=quarantine")
	case effective == "reject" || effective == "quarantine":
		d.ok("dmarc", fmt.Sprintf("the policy of %s is %s", at, effective))
	default:
		d.fail("dmarc", fmt.Sprintf("%s has no policy that is known: %q", at, effective), "write p=none, p=quarantine or p=reject")
	}
}
