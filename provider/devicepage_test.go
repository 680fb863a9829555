package provider

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// RFC 8628 §3.3, §3.3.1: the page asks for a code; one in its address fills the
// field, and nothing is done with it.
func TestDevicePage(t *testing.T) {
	t.Parallel()
	w := newDeviceWorld(t)
	d := w.device("tv")
	for _, b := range []*browser{w.browser(), w.signedIn("ada@example.com")} {
		for _, method := range []string{"GET", "HEAD"} {
			for _, code := range []string{"", d.userCode, strings.ToLower(d.userCode), "BBBB-BBBB", "<script>", strings.Repeat("B", 2000)} {
				before := len(b.cookies)
				a := b.send(b.request(method, "/device", params("user_code", code)))
				if a.status != 200 || len(a.reads)+len(a.writes) > 0 || len(b.cookies) > max(before, 1) {
					t.Errorf("%s: read %v, wrote %v", a, a.reads, a.writes)
				}
				if method == "HEAD" {
					continue
				}
				if a.isPage(200, "device", ""); a.forms["device-code"].action != "/device" {
					t.Errorf("forms %v", a.forms)
				}
				if strings.Contains(a.body, `value="`+d.userCode+`"`) != strings.EqualFold(code, d.userCode) {
					t.Errorf("%q: the field is filled, or is not", code)
				}
			}
		}
	}
	w.send(newRequest("GET", "/device?user_code=a&user_code=b", nil)).isPage(400, "error", "invalid_request")
	d.poll().is(400, "authorization_pending")
}

// The page says what asks, and asks every time.
func TestDevicePageAsks(t *testing.T) {
	t.Parallel()
	w := newDeviceWorld(t)
	b := w.signedIn("ada@example.com")
	for range 2 { // whatever was allowed before
		r := newRequest("POST", "/device_authorization", params("client_id", "tv", "scope", "openid email", "resource", "https://api.example.com"))
		r.RemoteAddr = "203.0.113.77:5000"
		r.Header.Set("User-Agent", "curl/8.0 <b>You won</b>")
		a := w.send(r)
		d := device{world: w, client: "tv", code: a.json["device_code"].(string), userCode: a.json["user_code"].(string)}
		w.clock.pass(time.Minute)
		page := b.types(strings.ToLower(d.userCode))
		page.isPage(200, "device", "")
		for _, want := range []string{"Television", "ada@example.com", d.userCode, "curl", "203.0.113.0/24", "api.example.com"} {
			if !strings.Contains(page.body, want) {
				t.Errorf("the page does not tell %q", want)
			}
		}
		if strings.Contains(page.body, "You won") {
			t.Error("what a stranger wrote stands on the page")
		}
		d.poll().is(400, "authorization_pending")
		if a := b.submit(page, "device-allow"); a.page != "device" || len(a.forms) > 0 {
			t.Errorf("%s: forms %v", a, a.forms)
		}
		w.granted(d.poll())
	}
}

// Where it is known, the page names the place of the device.
func TestDevicePageNamesThePlace(t *testing.T) {
	t.Parallel()
	w := newDeviceWorld(t, func(c *Config) {
		c.Place = func(addr netip.Addr, _ string) string {
			return map[string]string{"203.0.113.77": "Berlin, Germany"}[addr.String()]
		}
	})
	b := w.signedIn("ada@example.com")
	for addr, want := range map[string]string{"203.0.113.77:5000": ">Berlin, Germany · 203.0.113.0/24<", "198.51.100.1:5000": ">198.51.100.0/24<"} {
		r := newRequest("POST", "/device_authorization", params("client_id", "tv", "scope", "openid"))
		r.RemoteAddr = addr
		code, _ := w.send(r).json["user_code"].(string)
		if page := b.types(code); !strings.Contains(page.body, want) {
			t.Errorf("%s: the page does not tell %q", addr, want)
		}
	}
}

// Who is not signed in signs in and comes back.
func TestDevicePageNeedsALogin(t *testing.T) {
	t.Parallel()
	w := newDeviceWorld(t)
	w.run("by the waiting tab", func(*testing.T) {
		d, b := w.device("tv"), w.browser()
		handle := b.types(d.userCode).handle()
		b.resume(handle) // too early
		login := b.signIn("ada@example.com")
		b.submit(b.resume(handle), "device-allow").isPage(200, "device", "")
		if g := w.granted(d.poll()); g.accessClaims["sub"] != login.User.ID {
			w.Errorf("sub %v", g.accessClaims["sub"])
		}
	})
	w.run("by the link", func(*testing.T) {
		d, b := w.device("tv"), w.browser()
		handle := b.types(d.userCode).handle()
		login := b.signIn("ada@example.com")
		page := b.call(func(rw http.ResponseWriter, r *http.Request) { w.provider.Resume(rw, r, handle, login) })
		b.submit(page, "device-deny").isPage(200, "device", "")
		d.poll().is(400, "access_denied")
	})
	w.run("what login may know", func(t *testing.T) {
		b := w.browser()
		handle := b.types(w.device("tv").userCode).handle()
		got, err := w.provider.Waiting(t.Context(), handle, fakeLogins{w}.KnownBrowser(b.request("GET", "/", nil)))
		if err != nil || got.Client.Name != "Television" || got.ClientID != "tv" || got.Home != "" || got.SelectAccount || !got.FreshAfter.IsZero() {
			t.Errorf("%+v, %v", got, err)
		}
	})
	w.run("given up", func(*testing.T) {
		d, b := w.device("tv"), w.browser()
		handle := b.types(d.userCode).handle()
		b.call(func(rw http.ResponseWriter, r *http.Request) { w.provider.Deny(rw, r, handle) }).isPage(200, "device", "")
		d.poll().is(400, "access_denied")
		b.call(func(rw http.ResponseWriter, r *http.Request) { w.provider.Deny(rw, r, handle) }).isPage(404, "device", "")
	})
	w.run("another browser's handle", func(*testing.T) {
		handle := w.browser().types(w.device("tv").userCode).handle()
		w.signedIn("eve@example.com").resume(handle).isPage(400, "error", "invalid_request")
	})
	w.run("the code is another device's by now", func(t *testing.T) {
		for _, change := range []string{`client_id = 'tv2'`, `created_at = created_at + 60000000`} {
			d, b := w.device("tv"), w.browser()
			handle := b.types(d.userCode).handle()
			b.signIn("ada@example.com")
			page := b.resume(handle)
			w.query(`UPDATE devices SET `+change+` WHERE user_code = ?`, strings.ReplaceAll(d.userCode, "-", ""))
			b.resume(handle).isPage(404, "device", "")
			if a := b.submit(page, "device-allow"); len(a.writes) > 0 || a.status != 404 {
				t.Errorf("%s: %s wrote %v", change, a, a.writes)
			}
		}
	})
	w.run("the code expired meanwhile", func(*testing.T) {
		b := w.browser()
		handle := b.types(w.device("tv").userCode).handle()
		w.clock.pass(deviceTTL)
		b.signIn("ada@example.com")
		b.resume(handle).isPage(404, "device", "")
	})
}

// The answer is taken from the page that was shown to this session, and from
// nothing else (RFC 8628 §5.4; RFC 6819 §4.4.1.8).
func TestDeviceAnswersAreProven(t *testing.T) {
	t.Parallel()
	w := newDeviceWorld(t)
	d, second := w.device("tv"), w.device("tv2")
	ada, eve := w.signedIn("ada@example.com"), w.signedIn("eve@example.com")
	page := ada.types(d.userCode)
	token := page.forms["device-allow"].fields.Get("token")
	otherPage := ada.types(second.userCode)
	for _, tt := range []struct {
		name   string
		pairs  []string
		status int
	}{
		{"no token", []string{"token", omit}, 400},
		{"a wrong token", []string{"token", "AAAA"}, 400},
		{"the token of another code", []string{"token", otherPage.forms["device-allow"].fields.Get("token")}, 400},
		{"no handle", []string{"request", ""}, 400},
		{"a forged handle", []string{"request", token}, 400},
	} {
		w.run(tt.name, func(*testing.T) {
			ada.submit(page, "device-allow", tt.pairs...).isPage(tt.status, "error", "invalid_request")
			d.poll()
		})
	}
	w.run("another session's page", func(*testing.T) {
		eve.submit(page, "device-allow").isPage(400, "error", "invalid_request")
		eve.cookies[browserCookie] = ada.cookies[browserCookie]
		eve.submit(page, "device-allow").isPage(400, "error", "invalid_request")
	})
	w.run("a page of another site", func(t *testing.T) {
		for _, header := range [][2]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}} {
			for _, form := range []string{"device-allow", "device-deny"} {
				r := ada.request("POST", "/device", page.forms[form].fields)
				r.Header.Set(header[0], header[1])
				a := ada.send(r)
				if a.isPage(403, "error", "access_denied"); len(a.reads)+len(a.writes) > 0 {
					t.Errorf("%v: read %v, wrote %v", header, a.reads, a.writes)
				}
			}
		}
	})
	w.run("RFC 9110 §9.2.1: GET", func(t *testing.T) {
		if a := ada.send(ada.request("GET", "/device", page.forms["device-allow"].fields)); a.status != 200 && a.status != 400 || len(a.writes) > 0 {
			t.Errorf("%s wrote %v", a, a.writes)
		}
	})
	w.run("the consent page's door", func(*testing.T) {
		ada.post("/authorize/resume", page.forms["device-allow"].fields).isPage(400, "error", "invalid_request")
	})
	w.run("an application's request", func(*testing.T) {
		b := w.browser()
		handle := b.handle("ask")
		b.signIn("ada@example.com")
		b.submit(page, "device-allow", "request", handle).isPage(400, "error", "invalid_request")
	})
	w.run("repeated parameters", func(*testing.T) {
		form := params("request", page.forms["device-allow"].fields.Get("request"))
		form.Add("consent", "deny")
		form.Add("consent", "allow")
		ada.post("/device", form).isPage(400, "error", "invalid_request")
	})
	w.run("after all that nothing was answered", func(*testing.T) {
		w.clock.pass(time.Minute)
		d.poll().is(400, "authorization_pending")
		second.poll().is(400, "authorization_pending")
	})
	w.run("the session ended since", func(*testing.T) {
		b := w.signedIn("bob@example.com")
		shown := b.types(d.userCode)
		b.endSession()
		handle := b.submit(shown, "device-allow").handle()
		b.signIn("bob@example.com")
		b.submit(b.resume(handle), "device-allow").isPage(200, "device", "")
	})
}

// Access rules of the client hold for its devices.
func TestDevicesOfNarrowClients(t *testing.T) {
	t.Parallel()
	w := newDeviceWorld(t, func(c *Config) { c.Deny = []string{"eve@example.com"} })
	ada, bob := w.signedIn("ada@example.com"), w.signedIn("bob@example.com")
	w.describe(bob.login().User.ID, "", "", "staff")
	d := w.device("club")
	ada.types(d.userCode).isPage(403, "error", "access_denied")
	w.signedIn("eve@example.com").types(w.device("tv").userCode).isPage(403, "error", "access_denied")
	page := bob.types(d.userCode)
	w.describe(bob.login().User.ID, "", "")
	bob.submit(page, "device-allow").isPage(403, "error", "access_denied")
	d.poll().is(400, "authorization_pending")
	w.describe(bob.login().User.ID, "", "", "staff")
	bob.submit(page, "device-allow").isPage(200, "device", "")
	w.granted(d.poll())
}

// RFC 8628 §5.1: codes cannot be tried without end; a right one costs as much as
// a wrong one.
func TestUserCodesAreLimited(t *testing.T) {
	t.Parallel()
	w := newDeviceWorld(t)
	limited := func(t *testing.T, a answer) {
		t.Helper()
		a.isPage(429, "device", "")
		if !strings.Contains(a.body, `data-error="limited"`) || a.header.Get("Retry-After") != "900" || len(a.reads) > 0 {
			t.Errorf("Retry-After %q, read %v", a.header.Get("Retry-After"), a.reads)
		}
	}
	from := func(b *browser, network, code string) answer {
		r := b.request("POST", "/device", params("user_code", code))
		r.RemoteAddr = network
		return b.send(r)
	}
	w.run("of a browser", func(t *testing.T) {
		d, b := w.device("tv"), w.browser()
		for i := range userCodesPerBrowser {
			if i%2 == 0 {
				b.types(d.userCode).handle()
			} else {
				b.types("BBBB-BBBB").isPage(404, "device", "")
			}
		}
		limited(t, b.types(d.userCode))
		limited(t, b.types("BBBB-BBBB"))
		b.types("no code").isPage(400, "device", "") // costs nothing and tells nothing
		w.browser().types(d.userCode).handle()
		w.clock.pass(limitWindow)
		b.types("BBBB-BBBB").isPage(404, "device", "")
	})
	w.run("of a person, in any browser", func(t *testing.T) {
		w.clock.pass(limitWindow)
		for range userCodesPerBrowser {
			w.signedIn("ada@example.com").types("BBBB-BBBB").isPage(404, "device", "")
		}
		limited(t, w.signedIn("ada@example.com").types("BBBB-BBBB"))
	})
	w.run("of a network, whatever becomes of cookies", func(t *testing.T) {
		for i := range userCodesPerNetwork {
			from(w.browser(), []string{"[2001:db8:1:2::1]:9", "[2001:db8:1:2:3::4]:9"}[i%2], "BBBB-BBBB").isPage(404, "device", "")
		}
		limited(t, from(w.browser(), "[2001:db8:1:2::5]:9", "BBBB-BBBB"))
		from(w.browser(), "[2001:db8:1:3::5]:9", "BBBB-BBBB").isPage(404, "device", "")
	})
	w.run("counters that cannot be consulted refuse", func(*testing.T) {
		defer w.store.heal()
		w.store.failBefore("CountLimits", errBroken)
		w.browser().types("BBBB-BBBB").isPage(503, "error", "temporarily_unavailable")
	})
}

// What cannot be consulted refuses, and is as good as ever when it is back.
func TestDevicePageWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	w := newDeviceWorld(t)
	d, b := w.device("tv"), w.signedIn("ada@example.com")
	page := b.types(d.userCode)
	for _, tt := range []struct {
		method string
		do     func() answer
	}{
		{"Device", func() answer { return b.types(d.userCode) }},
		{"Device", func() answer { return b.submit(page, "device-allow") }},
		{"AllowDevice", func() answer { return b.submit(page, "device-allow") }},
		{"DenyDevice", func() answer { return b.submit(page, "device-deny") }},
	} {
		w.store.failBefore(tt.method, errBroken)
		tt.do().isPage(503, "error", "temporarily_unavailable")
	}
	w.store.heal()
	b.submit(page, "device-allow").isPage(200, "device", "")
	w.granted(d.poll())
}

// A client that is gone has no devices.
func TestDevicesOfAClientThatIsGone(t *testing.T) {
	t.Parallel()
	w := newDeviceWorld(t)
	b := w.signedIn("ada@example.com")
	d := w.device("tv")
	page := b.types(d.userCode)
	delete(w.provider.clients.fixed, "tv")
	b.types(d.userCode).isPage(404, "device", "")
	b.submit(page, "device-allow").isPage(400, "error", "invalid_client")
	if _, err := w.engine.Device(t.Context(), strings.ReplaceAll(d.userCode, "-", ""), w.clock.Now()); err != nil {
		t.Errorf("answered: %v", err)
	}
}
