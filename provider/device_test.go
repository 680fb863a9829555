package provider

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

// deviceClients may use the device grant.
func deviceClients(c *Config) {
	both := []string{deviceGrant, "refresh_token"}
	c.Clients = append(c.Clients,
		storage.Client{ID: "tv", Name: "Television", ClientURI: "https://tv.example.com/", GrantTypes: both},
		storage.Client{ID: "tv2", Name: "Another", GrantTypes: both},
		storage.Client{ID: "box", Name: "Box", SecretSHA256: hexSHA256(secretOf("box")), GrantTypes: []string{deviceGrant}},
		storage.Client{ID: "bound", Name: "Bound", GrantTypes: both, DPoPBound: true},
		storage.Client{ID: "bank", Name: "Bank", GrantTypes: both, DefaultMaxAge: new(60)},
		storage.Client{ID: "club", Name: "Club", GrantTypes: both, Groups: []string{"staff"}},
	)
}

func newDeviceWorld(t testing.TB, change ...func(*Config)) *world {
	t.Helper()
	return newWorld(t, append([]func(*Config){deviceClients}, change...)...)
}

// device is one that has asked for a code.
type device struct {
	*world
	client, code, userCode string
	key                    signer // of its DPoP proofs; zero: none
}

// device asks for a code (RFC 8628 §3.1).
func (w *world) device(client string, pairs ...string) device {
	w.Helper()
	return w.boundDevice(client, signer{}, pairs...)
}

func (w *world) boundDevice(client string, key signer, pairs ...string) device {
	w.Helper()
	d := device{world: w, client: client, key: key}
	a := d.call("/device_authorization", params(pairs...))
	if a.status != 200 {
		w.Fatalf("no code: %s %s", a, a.body)
	}
	d.code, _ = a.json["device_code"].(string)
	d.userCode, _ = a.json["user_code"].(string)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bearers = append(w.bearers, d.code)
	return d
}

func (d device) call(path string, form url.Values) answer {
	d.Helper()
	form.Set("client_id", d.client)
	r := newRequest("POST", path, form)
	if !d.world.client(d.client).Public() {
		r.SetBasicAuth(url.QueryEscape(d.client), url.QueryEscape(secretOf(d.client)))
	}
	if d.key.alg != "" {
		d.bound(r, d.key, "")
	}
	return d.send(r)
}

// poll asks for tokens (RFC 8628 §3.4).
func (d device) poll(pairs ...string) answer {
	d.Helper()
	return d.call("/token", params(append([]string{"grant_type", deviceGrant, "device_code", d.code}, pairs...)...))
}

// types enters the user code of a device.
func (b *browser) types(code string) answer {
	b.Helper()
	return b.post("/device", params("user_code", code))
}

// allows lets a device in.
func (b *browser) allows(d device) {
	b.Helper()
	b.submit(b.types(d.userCode), "device-allow").isPage(200, "device", "")
}

// RFC 8628 §3.1, §3.2, §6.1: what a device is told.
func TestDeviceAuthorization(t *testing.T) {
	t.Parallel()
	w := newDeviceWorld(t)
	a := w.api("/device_authorization", "tv", "scope", "openid offline_access nonsense")
	if a.status != 200 || len(a.json) != 6 || a.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s: %s", a, a.body)
	}
	code, _ := a.json["user_code"].(string)
	if !regexp.MustCompile(`^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$`).MatchString(code) {
		t.Errorf("user_code %q", code)
	}
	if id, _ := a.json["device_code"].(string); len(id) < 43 {
		t.Errorf("device_code of %d characters", len(id))
	}
	for name, want := range map[string]any{
		"expires_in": 900.0, "interval": 5.0, "verification_uri": issuer + "/device", "verification_uri_complete": issuer + "/device?user_code=" + code,
	} {
		if a.json[name] != want {
			t.Errorf("%s is %v, want %v", name, a.json[name], want)
		}
	}
	if !slices.Equal(a.writes, []string{"CountLimits", "AddDevice"}) {
		t.Errorf("wrote %v", a.writes)
	}
	for _, tt := range []struct {
		name, client string
		pairs        []string
		status       int
		code         string
	}{
		{"RFC 6749 §5.2: the client did not register the grant", "web", nil, 400, "unauthorized_client"},
		{"RFC 8707 §2: a resource that is none", "tv", []string{"resource", "x"}, 400, "invalid_target"},
		{"RFC 6749 §5.2: a wrong secret", "box", []string{"client_id", "tv"}, 401, "invalid_client"},
	} {
		w.run(tt.name, func(*testing.T) { w.api("/device_authorization", tt.client, tt.pairs...).is(tt.status, tt.code) })
	}
	w.run("RFC 8628 §3.1: a client that is none", func(*testing.T) {
		w.send(newRequest("POST", "/device_authorization", params("client_id", "nobody"))).is(401, "invalid_client")
		w.send(newRequest("POST", "/device_authorization", nil)).is(401, "invalid_client")
	})
	w.run("the database is away", func(*testing.T) {
		defer w.store.heal()
		for _, method := range []string{"CountLimits", "AddDevice"} {
			w.store.failBefore(method, errBroken)
			w.api("/device_authorization", "tv").is(503, "temporarily_unavailable")
		}
	})
}

// RFC 8628 §5.2: nobody can ask without end, and others are not in the way.
func TestDeviceAuthorizationIsLimited(t *testing.T) {
	t.Parallel()
	w := newDeviceWorld(t)
	ask := func(client, from string) answer {
		r := newRequest("POST", "/device_authorization", params("client_id", client))
		r.RemoteAddr = from
		return w.send(r)
	}
	for range devicesPerNetwork {
		if a := ask("tv", "192.0.2.1:1000"); a.status != 200 {
			t.Fatal(a)
		}
	}
	a := ask("tv", "192.0.2.1:2000")
	a.is(429, "too_many_requests")
	if a.header.Get("Retry-After") != "900" {
		t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
	}
	for _, other := range [][2]string{{"tv2", "192.0.2.1:1000"}, {"tv", "192.0.2.2:1000"}} {
		if a := ask(other[0], other[1]); a.status != 200 {
			t.Errorf("%v: %s", other, a)
		}
	}
	w.clock.pass(limitWindow)
	if a := ask("tv", "192.0.2.1:1000"); a.status != 200 {
		t.Errorf("after the window: %s", a)
	}
}

// conflicting has the first user codes taken.
type conflicting struct {
	Store
	left atomic.Int32
}

func (s *conflicting) AddDevice(ctx context.Context, d storage.Device) error {
	if s.left.Add(-1) >= 0 {
		return storage.ErrConflict
	}
	return s.Store.AddDevice(ctx, d)
}

// RFC 8628 §6.1: a user code that is taken is not given twice.
func TestUserCodesAreUnique(t *testing.T) {
	t.Parallel()
	var store *conflicting
	w := newDeviceWorld(t, func(c *Config) {
		store = &conflicting{Store: c.Store}
		c.Store = store
	})
	store.left.Store(userCodeTries - 1)
	w.device("tv")
	store.left.Store(userCodeTries)
	w.api("/device_authorization", "tv").is(503, "temporarily_unavailable")
	store.left.Store(0)

	letters := map[rune]int{}
	for range 500 {
		for _, r := range newUserCode() {
			letters[r]++
		}
	}
	if len(letters) != len(userCodeLetters) {
		t.Errorf("%d letters are in use", len(letters))
	}
}

// RFC 8628 §3.3 to §3.5: from the code to the tokens, and no second time.
func TestDeviceFlow(t *testing.T) {
	t.Parallel()
	w := newDeviceWorld(t)
	for _, tt := range []struct {
		client, scope string
		refresh       bool
	}{
		{"tv", "openid email offline_access", true},
		{"tv", "openid email", false},
		{"box", "openid email offline_access", false}, // no refresh_token grant
		{"tv", "", false},
	} {
		w.run(tt.client+" "+tt.scope, func(t *testing.T) {
			d := w.device(tt.client, "scope", tt.scope)
			d.poll().is(400, "authorization_pending")
			b := w.signedIn("ada@example.com")
			login := b.login()
			w.clock.pass(deviceInterval)
			d.poll().is(400, "authorization_pending")
			b.allows(d)
			w.clock.pass(deviceInterval)
			g := w.granted(d.poll())
			if (g.refresh != "") != tt.refresh || (g.id != "") != strings.Contains(tt.scope, "openid") || g.json["token_type"] != "Bearer" {
				t.Errorf("got %v", g.json)
			}
			if g.id != "" && (g.claims["sub"] != login.User.ID || g.claims["email"] != "ada@example.com" || g.claims["aud"] != tt.client ||
				g.claims["sid"] != keys.SID(login.Session.ID) || g.claims["auth_time"] != float64(login.Session.AuthTime.Unix())) {
				t.Errorf("ID token %v", g.claims)
			}
			if g.accessClaims["sub"] != login.User.ID || g.accessClaims["client_id"] != tt.client {
				t.Errorf("access token %v", g.accessClaims)
			}
			d.poll().is(400, "invalid_grant")
			if !w.active(g.access) {
				t.Error("a replay revoked what the device was given")
			}
			b.endSession()
			if w.active(g.access) != tt.refresh {
				t.Errorf("OIDC Core §11: after the session the token is active: %v", !tt.refresh)
			}
			if tt.refresh {
				w.granted(w.refresh(tt.client, g.refresh))
			}
		})
	}
}

// OIDC Registration §2, default_max_age: whoever signed in longer ago does so again.
func TestDeviceOfAClientWithAMaximumAge(t *testing.T) {
	t.Parallel()
	w := newDeviceWorld(t)
	d := w.device("bank")
	b := w.signedIn("ada@example.com")
	w.clock.pass(time.Minute)
	b.types(d.userCode).isPage(200, "device", "")
	w.clock.pass(time.Second)
	handle := b.types(d.userCode).handle()
	b.resume(handle).handle() // to the login again
	b.signIn("ada@example.com")
	b.submit(b.resume(handle), "device-allow").isPage(200, "device", "")
	w.granted(d.poll())
}

// RFC 8628 §3.5: every answer to a poll.
func TestDevicePolls(t *testing.T) {
	t.Parallel()
	w := newDeviceWorld(t)
	ada := w.signedIn("ada@example.com")
	w.run("slow_down makes the interval longer by five seconds each time", func(*testing.T) {
		d := w.device("tv")
		d.poll().is(400, "authorization_pending")
		d.poll().is(400, "slow_down") // 10 seconds now
		w.clock.pass(9 * time.Second)
		d.poll().is(400, "slow_down") // 15
		w.clock.pass(15 * time.Second)
		d.poll().is(400, "authorization_pending")
		w.clock.pass(14 * time.Second)
		d.poll().is(400, "slow_down")
	})
	w.run("a poll that comes too early is not kept from what the person allowed", func(*testing.T) {
		d := w.device("tv")
		d.poll().is(400, "authorization_pending")
		ada.allows(d)
		w.granted(d.poll())
	})
	w.run("access_denied", func(t *testing.T) {
		d := w.device("tv")
		a := ada.submit(ada.types(d.userCode), "device-deny")
		a.isPage(200, "device", "")
		d.poll().is(400, "access_denied")
		ada.types(d.userCode).isPage(404, "device", "")
		w.clock.pass(deviceTTL)
		d.poll().is(400, "access_denied")
	})
	w.run("expired_token", func(*testing.T) {
		d := w.device("tv")
		w.clock.pass(deviceTTL - time.Microsecond)
		d.poll().is(400, "authorization_pending")
		w.clock.pass(time.Microsecond)
		d.poll().is(400, "expired_token")
		ada.types(d.userCode).isPage(404, "device", "")
		w.clock.pass(limitWindow)
	})
	w.run("expired_token: allowed, and not fetched in time", func(*testing.T) {
		d := w.device("tv")
		ada.allows(d)
		w.clock.pass(deviceTTL)
		d.poll().is(400, "expired_token")
	})
	w.run("invalid_grant", func(t *testing.T) {
		d := w.device("tv")
		ada.allows(d)
		for name, poll := range map[string]func() answer{
			"another client":  func() answer { return device{world: w, client: "tv2", code: d.code}.poll() },
			"no code":         func() answer { return d.poll("device_code", "") },
			"garbage":         func() answer { return d.poll("device_code", "abc") },
			"a MAC of nobody": func() answer { return d.poll("device_code", d.code[:len(d.code)-2]+"AA") },
			"a line feed":     func() answer { return d.poll("device_code", d.code+"\n") },
		} {
			a := poll()
			if a.is(400, "invalid_grant"); len(a.writes) > 0 && name != "another client" {
				t.Errorf("%s: asked the database: %v", name, a.writes)
			}
		}
		device{world: w, client: "web", code: d.code}.poll().is(400, "unauthorized_client")
		w.granted(d.poll())
	})
	w.run("invalid_grant: the session ended before the tokens were fetched", func(*testing.T) {
		d, b := w.device("tv"), w.signedIn("ada@example.com")
		b.allows(d)
		b.endSession()
		d.poll().is(400, "invalid_grant")
	})
	w.run("invalid_grant: the person was disabled", func(t *testing.T) {
		d, b := w.device("tv", "scope", "openid offline_access"), w.signedIn("eve@example.com")
		b.allows(d)
		if err := w.engine.DisableUser(t.Context(), b.login().User.ID, w.clock.Now()); err != nil {
			t.Fatal(err)
		}
		d.poll().is(400, "invalid_grant")
	})
	w.run("invalid_grant: the person may no longer use the application", func(t *testing.T) {
		b := w.signedIn("bob@example.com")
		w.describe(b.login().User.ID, "", "", "staff")
		d := w.device("club")
		b.allows(d)
		w.describe(b.login().User.ID, "", "")
		d.poll().is(400, "invalid_grant")
	})
	w.run("RFC 8707 §2.2: resources are narrowed, not widened", func(*testing.T) {
		d := w.device("tv", "resource", "https://api.example.com")
		ada.allows(d)
		d.poll("resource", "https://other.example.com").is(400, "invalid_target")
		if g := w.granted(d.poll()); g.accessClaims["aud"] == issuer {
			w.Errorf("aud %v", g.accessClaims["aud"])
		}
	})
	w.run("the database is away", func(t *testing.T) {
		defer w.store.heal()
		d := w.device("tv")
		ada.allows(d)
		for _, method := range []string{"PollDevice", "RedeemDevice"} {
			w.store.failBefore(method, errBroken)
			d.poll().is(503, "temporarily_unavailable")
		}
		w.store.heal()
		w.granted(d.poll())
	})
}

// RFC 9449 §5: tokens are bound to the key that polls, which is that of the
// request when it had one.
func TestDeviceDPoP(t *testing.T) {
	t.Parallel()
	w := newDeviceWorld(t)
	b := w.signedIn("ada@example.com")
	key, other := signerOf("device", jose.ES256), signerOf("other", jose.ES256)
	jkt := func(g granted) any {
		cnf, _ := g.accessClaims["cnf"].(map[string]any)
		return cnf["jkt"]
	}
	w.run("the key of the request", func(t *testing.T) {
		d := w.boundDevice("tv", key, "scope", "openid offline_access")
		stranger := d
		stranger.key = other
		stranger.poll().is(400, "invalid_grant")
		b.allows(d)
		stranger.poll().is(400, "invalid_grant")
		stranger.key = signer{}
		stranger.poll().is(400, "invalid_grant")
		g := w.granted(d.poll())
		if jkt(g) != w.thumbprint(key) || g.json["token_type"] != "DPoP" {
			t.Errorf("cnf %v, token_type %v", jkt(g), g.json["token_type"])
		}
		w.refresh("tv", g.refresh).is(400, "invalid_grant") // a public client's is bound as well
	})
	w.run("the key of the poll", func(t *testing.T) {
		d := w.device("tv")
		b.allows(d)
		d.key = other
		if g := w.granted(d.poll()); jkt(g) != w.thumbprint(other) {
			t.Errorf("cnf %v", jkt(g))
		}
	})
	w.run("a client that needs one", func(*testing.T) {
		d := w.boundDevice("bound", key)
		b.allows(d)
		naked := d
		naked.key = signer{}
		naked.poll().is(400, "invalid_dpop_proof")
		w.granted(d.poll())
	})
	w.run("RFC 9449 §11.1: a proof used before", func(*testing.T) {
		proof := w.proofOf(key, w.proofClaims("POST", "/device_authorization", ""))
		for _, code := range []any{nil, "invalid_dpop_proof"} {
			r := newRequest("POST", "/device_authorization", params("client_id", "tv"))
			r.Header.Set("DPoP", proof)
			if a := w.send(r); a.json["error"] != code {
				w.Errorf("%s, want %v", a, code)
			}
		}
	})
}

// RFC 8628 §3.5: of any number of polls at once one gets tokens.
func TestDevicePollRace(t *testing.T) {
	t.Parallel()
	w := newDeviceWorld(t)
	d := w.device("tv", "scope", "openid offline_access")
	b := w.signedIn("ada@example.com")
	b.allows(d)
	if won := winners(t, race(racers, func() answer { return d.poll() })); len(won) != 1 {
		t.Errorf("%d polls got tokens", len(won))
	}
}

// A browser that answers twice, or two that answer at once: one counts.
func TestDeviceAnswerRace(t *testing.T) {
	t.Parallel()
	w := newDeviceWorld(t)
	d := w.device("tv")
	b := w.signedIn("ada@example.com")
	page := b.types(d.userCode)
	forms := []string{"device-allow", "device-deny"}
	var i atomic.Int32
	answers := race(racers, func() answer {
		f := page.forms[forms[int(i.Add(1))%2]]
		return w.send(b.request("POST", f.action, f.fields))
	})
	won := 0
	for _, a := range answers {
		if a.status == http.StatusOK {
			won++
		} else {
			a.isPage(404, "device", "")
		}
	}
	if won != 1 {
		t.Errorf("%d answers counted", won)
	}
}

func FuzzReadUserCode(f *testing.F) {
	for _, s := range []string{"WDJB-MJHT", "wdjb mjht", "WDJBMJHT", "", "--------", "WDJB–MJHT", "ＷＤＪＢ-MJHT", "WDJBMJH0", "WDJBMJHTX", "AEIOUYAE", strings.Repeat("-", 57) + "WDJBMJHT"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		code, ok := readUserCode(typed)
		if !ok {
			return
		}
		if len(code) != userCodeLength || strings.Trim(code, userCodeLetters) != "" {
			t.Fatalf("%q is read as %q", typed, code)
		}
		for _, again := range []string{code, showUserCode(code), strings.ToLower(showUserCode(code)), " " + code + "\n"} {
			if got, ok := readUserCode(again); !ok || got != code {
				t.Fatalf("%q is read as %q, and %q as %q", typed, code, again, got)
			}
		}
	})
}

// RFC 8628 §6.1: what a person may type.
func TestReadUserCode(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		"WDJB-MJHT": "WDJBMJHT", "wdjb-mjht": "WDJBMJHT", " wdjb mjht ": "WDJBMJHT", "WDJB.MJHT": "WDJBMJHT", "W-D-J-B–M-J-H-T": "WDJBMJHT",
		"": "", "WDJBMJH": "", "WDJBMJHTT": "", "WDJB-MJH0": "", "WDJB-MJHA": "", strings.Repeat(" ", 64) + "WDJBMJHT": "",
	} {
		code, ok := readUserCode(typed)
		if ok != (want != "") || ok && code != want {
			t.Errorf("%q is read as %q, %v", typed, code, ok)
		}
	}
}
