package attack

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sealpost/sealpost/test/world"
)

func TestMain(m *testing.M) {
	world.WithoutRace()
	os.Exit(world.RunTests(m))
}

// attack is a scenario on a running installation, in which nobody is held up by
// how much one network may ask for.
func attack(t *testing.T, scenario func(t *testing.T, w *world.World)) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		w.Start(map[string]any{"trusted_proxies": []string{"127.0.0.0/8"}, "limits": map[string]any{"per_network": "off"}})
		scenario(t, w)
	})
}

// The victim is made to open the attacker's link, so that what the victim does
// afterwards is the attacker's to see.
func TestLoginCSRF(t *testing.T) {
	attack(t, func(t *testing.T, w *world.World) {
		mallory, attacker, victim := w.Person("Mallory"), w.Browser(world.Firefox), w.Browser(world.Phone)
		_, letter := attacker.Ask(w.App.Begin(), mallory)
		p := victim.Open(letter.Link).MustBe("other-browser", http.StatusOK)
		if _, ok := p.Form("confirm"); ok {
			t.Error("the victim could complete the attacker's login")
		}
		confirm, err := post(victim, w.Issuer+"/login", url.Values{"action": {"confirm"}, "token": {letter.Token(t)}}, sameOrigin)
		if err != nil || confirm.Answer != "" || victim.SignedIn() {
			t.Errorf("the victim is signed in: %+v, %v", confirm, err)
		}

		// A link that nobody waits for names whose it is, and takes a click that no
		// other site can make.
		sendMagicLink(w, mallory)
		free := w.Mail.Next(mallory)
		p = victim.Open(free.Link).MustBe("confirm", http.StatusOK)
		if !strings.Contains(strings.ToLower(p.Text()), strings.ToLower(mallory)) || p.Auto("confirm") {
			t.Error("the page does not say whose account it is, or confirms by itself")
		}
		for _, from := range []http.Header{
			{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}},
			{"Origin": {"https://evil.example"}},
			{"Sec-Fetch-Site": {"same-site"}},
		} {
			got, err := post(victim, w.Issuer+"/login", url.Values{"action": {"confirm"}, "token": {free.Token(t)}}, from)
			if err != nil || got.Status != http.StatusForbidden || victim.SignedIn() {
				t.Errorf("a form of another site got %d, %v", got.Status, err)
			}
		}
	})
}

// The attacker plants a session cookie before the victim signs in.
func TestSessionFixation(t *testing.T) {
	attack(t, func(t *testing.T, w *world.World) {
		mallory, attacker := w.Person("Mallory"), w.Browser(world.Firefox)
		login := w.App.Begin()
		_, letter := attacker.Ask(login, mallory)
		login.Finish(attacker.Submit(attacker.Open(letter.Link), "confirm"))
		planted := cookie(t, w, attacker, "sealpost-session")

		ada, victim := w.Person("Ada"), w.Browser(world.Phone)
		at, err := url.Parse(w.Issuer)
		if err != nil {
			t.Fatal(err)
		}
		victim.Client.Jar.SetCookies(at, []*http.Cookie{{Name: "sealpost-session", Value: planted, Path: "/"}})
		second := w.App.Begin(promptLogin)
		_, letter = victim.Ask(second, ada)
		got := second.Finish(victim.Submit(victim.Open(letter.Link), "confirm"))
		if got.Claims.Email != ada {
			t.Errorf("the victim is %q", got.Claims.Email)
		}
		if cookie(t, w, victim, "sealpost-session") == planted {
			t.Error("the session is the one that was planted")
		}
		third := w.App.Begin() // the attacker's own session has ended, or is still the attacker's
		if p := attacker.Open(third.Address); p.At.Host == world.AppHost && third.Finish(p).Claims.Email == ada {
			t.Error("the attacker is the victim")
		}
	})
}

// The attacker asks for a link to the victim's address and waits for the click.
func TestAttackerStartedLogin(t *testing.T) {
	attack(t, func(t *testing.T, w *world.World) {
		ada, attacker, victim := w.Person("Ada"), w.Browser(world.Firefox), w.Browser(world.Phone)
		tab, letter := attacker.Ask(w.App.Begin(), ada)
		p := victim.Open(letter.Link).MustBe("other-browser", http.StatusOK)
		if !strings.Contains(p.Text(), "Firefox on Linux") {
			t.Error("the victim does not read who asked")
		}
		code := victim.Submit(p, "show-code").MustBe("code", http.StatusOK).Code()
		w.Seen.Secret("code", code)
		if tab.At.Host == world.AppHost || attacker.Open(tab.At.String()).Name() != "sent" || attacker.SignedIn() || victim.SignedIn() {
			t.Error("the click was enough")
		}
		victim.Submit(victim.Open(letter.Link), "not-me")
		if attacker.Submit(attacker.Open(tab.At.String()), "enter-code", "code", code); attacker.SignedIn() {
			t.Error("the code was taken after \"This wasn't me\"")
		}
	})
}

// Codes are guessed from many connections at once.
func TestBruteForceOfTheCode(t *testing.T) {
	attack(t, func(t *testing.T, w *world.World) {
		ada, attacker, victim := w.Person("Ada"), w.Browser(world.Firefox), w.Browser(world.Phone)
		tab, letter := attacker.Ask(w.App.Begin(), ada)
		code := victim.Submit(victim.Open(letter.Link), "show-code").Code()
		w.Seen.Secret("code", code)
		var all sync.WaitGroup
		for i := range 64 {
			all.Go(func() {
				guess := fmt.Sprintf("%06d", i)
				if guess == code {
					return
				}
				if _, err := attacker.Copy().Post(tab, "enter-code", "code", guess); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if tries := len(w.Events("wrong-code")); tries > 5 {
			t.Errorf("%d tries were taken", tries)
		}
		if _, err := attacker.Post(tab, "enter-code", "code", code); err != nil || attacker.SignedIn() {
			t.Errorf("the code was still good: %v", err)
		}
		if n := len(w.Events("signed-in")); n > 0 {
			t.Errorf("%d are signed in", n)
		}
	})
}

// Somebody who has read the code, but is not the browser that waits.
func TestCodeWithoutTheCookie(t *testing.T) {
	attack(t, func(t *testing.T, w *world.World) {
		ada, asking, other, fresh := w.Person("Ada"), w.Browser(world.Firefox), w.Browser(world.Firefox), w.Browser(world.Firefox)
		other.Open(w.App.Begin().Address) // it has a cookie of its own
		tab, letter := asking.Ask(w.App.Begin(), ada)
		there := w.Browser(world.Phone)
		code := there.Submit(there.Open(letter.Link), "show-code").Code()
		w.Seen.Secret("code", code)
		for _, b := range []*world.Browser{other, fresh} {
			if p, err := b.Post(tab, "enter-code", "code", code); err != nil || p.At.Host == world.AppHost || b.SignedIn() {
				t.Errorf("the code was taken in another browser: %v", err)
			}
		}
		if asking.Submit(tab, "enter-code", "code", code); !asking.SignedIn() {
			t.Error("and it was used up for the one that waits")
		}
	})
}

// A handle of one browser is opened in another.
func TestHandleSwap(t *testing.T) {
	attack(t, func(t *testing.T, w *world.World) {
		attacker, victim := w.Browser(world.Firefox), w.Browser(world.Phone)
		victimLogin := w.App.Begin()
		ada := w.Person("Ada")
		_, letter := victim.Ask(victimLogin, ada)
		victimLogin.Finish(victim.Submit(victim.Open(letter.Link), "confirm"))

		form := attacker.Open(w.App.Begin().Address).MustBe("login", http.StatusOK)
		for _, path := range []string{"/login", "/authorize/resume"} {
			at := w.Issuer + path + "?" + url.Values{"request": {form.At.Query().Get("request")}}.Encode()
			if p := victim.Open(at); p.At.Host == world.AppHost || p.Status < 400 {
				t.Errorf("%s: the victim's session answered the attacker's request: %d at %s", path, p.Status, p.At.Host)
			}
		}
	})
}

// The mail's link is made to lead to the attacker's host.
func TestHostHeaderPoisoning(t *testing.T) {
	attack(t, func(t *testing.T, w *world.World) {
		ada := w.Person("Ada")
		for name, header := range map[string]map[string]string{
			"X-Forwarded-Host":  {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"},
			"Forwarded":         {"Forwarded": "for=203.0.113.1;host=evil.example;proto=https"},
			"X-Original-Host":   {"X-Original-Host": "evil.example", "X-Host": "evil.example"},
			"X-Rewrite-URL":     {"X-Rewrite-URL": "https://evil.example/", "X-Original-URL": "/"},
			"Origin of its own": {"Origin": w.Issuer, "Referer": "https://evil.example/"},
		} {
			header["Content-Type"] = "application/json"
			answer, body := w.Send(http.MethodPost, w.Issuer+"/send-magic-link", `{"email":`+strconv.Quote(ada)+`}`, header)
			if answer.StatusCode != http.StatusOK {
				t.Fatalf("%s: %s %s", name, answer.Status, body)
			}
			if l := w.Mail.Next(ada); !strings.HasPrefix(l.Link, w.Issuer+"/login?token=") || strings.Contains(l.Text+l.HTML, "evil.example") {
				t.Errorf("%s: the mail leads to %s", name, l.Link)
			}
		}
		r, err := http.NewRequest(http.MethodPost, w.Issuer+"/send-magic-link", strings.NewReader(`{"email":`+strconv.Quote(ada)+`}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "evil.example"
		r.Header.Set("Content-Type", "application/json")
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusMisdirectedRequest {
			t.Errorf("another Host gets %s", answer.Status)
		}
		_, discovery := w.Send(http.MethodGet, w.Issuer+"/.well-known/openid-configuration", "", map[string]string{"X-Forwarded-Host": "evil.example"})
		if strings.Contains(discovery, "evil") {
			t.Error("the metadata leads to the attacker")
		}
	})
}

// Every parameter that might hold an address holds the attacker's.
func TestOpenRedirects(t *testing.T) {
	attack(t, func(t *testing.T, w *world.World) {
		begun, err := url.Parse(w.App.Begin().Address)
		if err != nil {
			t.Fatal(err)
		}
		ada, signedIn := w.Person("Ada"), w.Browser(world.Firefox)
		login := w.App.Begin()
		_, letter := signedIn.Ask(login, ada)
		login.Finish(signedIn.Submit(signedIn.Open(letter.Link), "confirm"))
		for _, evil := range []string{
			"https://evil.example/", "//evil.example/", `/\evil.example/`, "https:evil.example", "javascript:alert(1)", "data:text/html,x",
			"https://" + world.AppHost + "@evil.example/", "https://" + world.AppHost + ".evil.example/oauth2/callback",
			"https://" + world.AppHost + "/oauth2/callback/../evil", "https://" + world.AppHost + "/oauth2/callback#@evil.example",
			"https://" + world.AppHost + "/oauth2/callback\r\nLocation: https://evil.example/",
		} {
			for _, path := range []string{"/", "/login", "/account", "/logout", "/device", "/authorize", "/authorize/resume"} {
				query := url.Values{}
				if path == "/authorize" {
					query = begun.Query()
				}
				for _, name := range []string{"redirect_uri", "post_logout_redirect_uri", "request_uri", "request", "wait", "token", "continue", "next", "return_to", "url", "iss", "target_link_uri", "notice"} {
					query.Set(name, evil)
				}
				if path == "/logout" {
					query.Set("client_id", "intranet")
				}
				p, err := signedIn.Request(http.MethodGet, w.Issuer+path+"?"+query.Encode(), nil)
				if err != nil {
					t.Errorf("%s with %q: %v", path, evil, err)
					continue
				}
				if p.At.Hostname() != "localhost" || leadsAway(p) {
					t.Errorf("%s with %q leads to %s", path, evil, p.At)
				}
				if _, asked := p.Form("logout"); asked && path == "/logout" {
					if p, err := signedIn.Post(p, "logout"); err != nil || p.At.Hostname() != "localhost" || leadsAway(p) {
						t.Errorf("signing out with %q leads to %s, %v", evil, p.At, err)
					}
				}
			}
		}
	})
}

// leadsAway says whether a page has a link, form or refresh to another host, or
// one that is a script. Its own address, with whatever stands in its query, is
// none: the menu of languages leads there.
func leadsAway(p world.Page) bool {
	for _, name := range []string{"href", "action", "src", "content", "formaction"} {
		for _, value := range p.Attributes(name) {
			if name == "content" {
				if _, value, _ = strings.Cut(value, "url="); value == "" {
					continue
				}
			}
			to, err := p.At.Parse(value)
			if err != nil || to.Scheme != "http" || to.Host != p.At.Host {
				return true
			}
		}
	}
	return false
}

// Markup in every parameter of every page comes back as text or not at all.
func TestReflectedInput(t *testing.T) {
	attack(t, func(t *testing.T, w *world.World) {
		const mark = `"'><script>xyzzy()</script><img src=x onerror=xyzzy()>{{xyzzy}}`
		begun, err := url.Parse(w.App.Begin().Address)
		if err != nil {
			t.Fatal(err)
		}
		b := w.Browser(world.Firefox)
		names := []string{
			"client_id", "redirect_uri", "state", "nonce", "scope", "prompt", "login_hint", "ui_locales", "claims", "response_type", "response_mode", "acr_values",
			"display", "id_token_hint", "max_age", "request", "request_uri", "code_challenge", "code_challenge_method", "resource", "registration", "token", "wait",
			"user_code", "post_logout_redirect_uri", "error", "error_description", "email", "action", "code", "switch", "notice", "next", "name", "x",
		}
		for _, path := range []string{"/", "/login", "/account", "/authorize", "/authorize/resume", "/logout", "/device", "/check_session", "/nowhere" + url.PathEscape(mark), "/.well-known/webfinger"} {
			for _, name := range names {
				query := url.Values{}
				if path == "/authorize" {
					query = begun.Query()
				}
				query.Set(name, mark)
				p, err := b.Request(http.MethodGet, w.Issuer+path+"?"+query.Encode(), nil)
				if err != nil {
					t.Fatal(err)
				}
				if p.Runs("xyzzy") {
					t.Errorf("GET %s: %s comes back as markup", path, name)
				}
				if path == "/login" || path == "/account" || path == "/device" || path == "/logout" {
					p, err := b.Request(http.MethodPost, w.Issuer+path, query)
					if err != nil {
						t.Fatal(err)
					}
					if p.Runs("xyzzy") {
						t.Errorf("POST %s: %s comes back as markup", path, name)
					}
				}
			}
		}
		form := b.Open(w.App.Begin().Address)
		for _, email := range []string{mark, mark + "@example.com", `"<b>x"@example.com`} {
			if p := b.Submit(form, "email", "email", email); p.Runs("xyzzy") {
				t.Errorf("%q comes back as markup", email)
			}
		}
	})
}

// Pages are put into a frame under something else to press.
func TestClickjacking(t *testing.T) {
	attack(t, func(t *testing.T, w *world.World) {
		ada, b := w.Person("Ada"), w.Browser(world.Firefox)
		login := w.App.Begin()
		tab, letter := b.Ask(login, ada)
		there := w.Browser(world.Phone)
		pages := map[string]world.Page{
			"login": b.Open(w.App.Begin().Address), "sent": tab, "confirm": b.Open(letter.Link), "other-browser": there.Open(letter.Link),
			"device": b.Open(w.Issuer + "/device"), "error": b.Open(w.Issuer + "/authorize"),
		}
		login.Finish(b.Submit(pages["confirm"], "confirm"))
		pages["account"] = b.Open(w.Issuer + "/account")
		pages["logout"], pages["consent"] = b.Open(w.Issuer+"/logout"), b.Open(w.App.Begin(promptConsent).Address)
		for name, p := range pages {
			if p.Name() != name {
				t.Errorf("%s is %s", name, p.Name())
			}
			if !strings.Contains(p.Header().Get("Content-Security-Policy"), "frame-ancestors 'none'") || p.Header().Get("X-Frame-Options") != "DENY" {
				t.Errorf("%s may be framed", name)
			}
		}
	})
}

// The token of a link leaks by what the page loads, or by where it leads.
func TestReferrerLeak(t *testing.T) {
	attack(t, func(t *testing.T, w *world.World) {
		ada, b := w.Person("Ada"), w.Browser(world.Firefox)
		_, letter := b.Ask(w.App.Begin(), ada)
		for _, p := range []world.Page{b.Open(letter.Link), w.Browser(world.Phone).Open(letter.Link)} {
			h := p.Header()
			if h.Get("Referrer-Policy") != "no-referrer" || h.Get("Cache-Control") != "no-store" || !strings.Contains(h.Get("X-Robots-Tag"), "noindex") {
				t.Errorf("%s: %v", p.Name(), h)
			}
			for _, attr := range []string{"src", "href", "action"} {
				for _, value := range p.Attributes(attr) {
					if u, err := p.At.Parse(value); err != nil || u.Host != p.At.Host && attr != "href" {
						t.Errorf("%s loads %s", p.Name(), value)
					}
				}
			}
		}
	})
}

// Who has an account cannot be told from status, headers or page.
func TestEnumeration(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		w.Start(map[string]any{"limits": map[string]any{"per_network": "off"}, "login": map[string]any{"deny": []string{"*@denied.example"}}})
		ada, b := w.Person("Ada"), w.Browser(world.Firefox)
		login := w.App.Begin()
		_, letter := b.Ask(login, ada)
		login.Finish(b.Submit(b.Open(letter.Link), "confirm"))

		looks := map[string]string{}
		for name, email := range map[string]string{"known": ada, "unknown": w.Person("Bob"), "denied": "someone-" + strings.ToLower(w.Person("x")[:9]) + "@denied.example"} {
			asking := w.Browser(world.Firefox)
			p := asking.Submit(asking.Open(w.App.Begin().Address), "email", "email", email).MustBe("sent", http.StatusOK)
			answer, body := w.Send(http.MethodPost, w.Issuer+"/send-magic-link", `{"email":`+strconv.Quote(email)+`}`, map[string]string{"Content-Type": "application/json"})
			looks[name] = strings.ReplaceAll(fmt.Sprint(shape(p), answer.StatusCode, body, headers(answer.Header)), email, "ADDRESS")
		}
		if looks["known"] != looks["unknown"] || looks["known"] != looks["denied"] {
			t.Errorf("they differ:\n%s\n%s\n%s", looks["known"], looks["unknown"], looks["denied"])
		}
	})
}

// shape is a page without what is random or counts down in it.
func shape(p world.Page) string {
	var out strings.Builder
	for _, line := range strings.Fields(p.Text()) {
		if !strings.Contains(line, ":") && !strings.Contains(line, "wait=") { // clocks, handles
			out.WriteString(line + " ")
		}
	}
	return out.String() + fmt.Sprint(p.Forms(), headers(p.Header()))
}

func headers(h http.Header) string {
	var out []string
	for name, values := range h {
		switch name {
		case "X-Request-Id", "Date", "Set-Cookie", "Content-Length":
		default:
			out = append(out, name+"="+strings.Join(values, ","))
		}
	}
	return fmt.Sprint(len(out)) + strings.Join(sorted(out), " ")
}

// One mailbox is flooded from many networks.
func TestMailBombing(t *testing.T) {
	attack(t, func(t *testing.T, w *world.World) {
		ada := w.Person("Ada")
		local, domain, _ := strings.Cut(ada, "@")
		limited := 0
		for i := range 60 {
			email := ada
			switch i % 3 { // another spelling of the same mailbox
			case 1:
				email = strings.ToUpper(local) + "@" + domain
			case 2:
				email = local + "+" + strconv.Itoa(i) + "@" + domain
			}
			answer, _ := w.Send(http.MethodPost, w.Issuer+"/send-magic-link", `{"email":`+strconv.Quote(email)+`}`,
				map[string]string{"Content-Type": "application/json", "X-Forwarded-For": fmt.Sprintf("203.0.113.%d", i)})
			if answer.StatusCode == http.StatusTooManyRequests && answer.Header.Get("Retry-After") != "" {
				limited++
			}
		}
		if limited != 55 {
			t.Errorf("%d of 60 were refused", limited)
		}
	})
}

// One form makes mail for two, or a header of the attacker's.
func TestAddressInjection(t *testing.T) {
	attack(t, func(t *testing.T, w *world.World) {
		ada, mallory := w.Person("Ada"), w.Person("Mallory")
		b := w.Browser(world.Firefox)
		form := b.Open(w.App.Begin().Address)
		for _, email := range []string{
			ada + "," + mallory, ada + ";" + mallory, ada + " " + mallory, ada + "\r\nBcc: " + mallory, ada + "\nTo: " + mallory, ada + "%0d%0aBcc:" + mallory,
			"<" + ada + ">," + mallory, `"` + ada + `" <` + mallory + `>`, ada + "\x00" + mallory, "x@[127.0.0.1]", ada + "@" + strings.SplitN(mallory, "@", 2)[1],
			strings.Replace(ada, "@", "%"+strings.SplitN(mallory, "@", 2)[1]+"@", 1), strings.Replace(ada, "@", "!x@", 1),
		} {
			if p := b.Submit(form, "email", "email", email); p.Status != http.StatusBadRequest || p.Name() != "login" {
				t.Errorf("%q: %d %s", email, p.Status, p.Name())
			}
			answer, body := w.Send(http.MethodPost, w.Issuer+"/send-magic-link", `{"email":`+strconv.Quote(email)+`}`, map[string]string{"Content-Type": "application/json"})
			if answer.StatusCode != http.StatusBadRequest || strings.TrimSpace(body) != `{"error":"Invalid email"}` {
				t.Errorf("%q: %s %s", email, answer.Status, body)
			}
		}
		if n := len(w.Events("link-asked")); n > 0 || len(w.Mail.To(mallory)) > 0 {
			t.Errorf("%d links were made", n)
		}
	})
}

// An address that looks like the victim's, or folds to it, is another's.
func TestUnicodeCollision(t *testing.T) {
	attack(t, func(t *testing.T, w *world.World) {
		mike := w.Person("mike")
		b := w.Browser(world.Firefox)
		login := w.App.Begin()
		_, letter := b.Ask(login, mike)
		first := login.Finish(b.Submit(b.Open(letter.Link), "confirm"))
		for _, twin := range []string{
			strings.Replace(mike, "i", "ı", 1), strings.Replace(mike, "k", "\u212a", 1), strings.Replace(mike, "e", "е", 1), // dotless i, Kelvin sign, Cyrillic
			strings.Replace(mike, "m", "ｍ", 1), // fullwidth
		} {
			attacker := w.Browser(world.Phone)
			login := w.App.Begin()
			p := attacker.Submit(attacker.Open(login.Address), "email", "email", twin)
			if p.Status == http.StatusBadRequest {
				continue // refused: nobody can be mistaken
			}
			p.MustBe("sent", http.StatusOK)
			got := login.Finish(attacker.Submit(attacker.Open(w.Mail.Next(twin).Link), "confirm"))
			if got.Id.Subject == first.Id.Subject {
				t.Errorf("%q is %q", twin, mike)
			}
		}
	})
}

// Asking again in another browser does not kill the victim's link.
func TestSupersedingSomebodysLink(t *testing.T) {
	attack(t, func(t *testing.T, w *world.World) {
		ada, victim := w.Person("Ada"), w.Browser(world.Firefox)
		login := w.App.Begin()
		_, letter := victim.Ask(login, ada)
		for range 3 {
			attacker := w.Browser(world.Phone)
			attacker.Ask(w.App.Begin(), ada)
		}
		if got := login.Finish(victim.Submit(victim.Open(letter.Link).MustBe("confirm", http.StatusOK), "confirm")); got.Claims.Email != ada {
			t.Errorf("the victim is %q", got.Claims.Email)
		}
	})
}
