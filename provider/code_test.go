package provider

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sealpost/sealpost/keys"
)

// RFC 6749 §4.1.3, OIDC Core §3.1.3.2: what a code is good for.
func TestRedeemCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	sealed := w.provider.cfg.Secret.Seal
	for _, tt := range []struct {
		name     string
		exchange func(code string) answer
		error    string // of this exchange
		burns    bool   // the code is worth nothing afterwards
	}{
		{"good", func(code string) answer { return w.redeem("web", code) }, "", true},
		{"RFC 6749 §4.1.3: redirect_uri differs", func(code string) answer {
			return w.redeem("web", code, "redirect_uri", "https://web.example.com/cb?tenant=1&x=%2F")
		}, "invalid_grant", true},
		{"RFC 6749 §4.1.3: redirect_uri is not registered", func(code string) answer {
			return w.redeem("web", code, "redirect_uri", "https://evil.example/cb")
		}, "invalid_grant", true},
		{"RFC 6749 §4.1.3: redirect_uri differs in case", func(code string) answer {
			return w.redeem("web", code, "redirect_uri", "https://WEB.example.com/cb")
		}, "invalid_grant", true},
		{"RFC 6749 §4.1.3: redirect_uri missing", func(code string) answer { return w.redeem("web", code, "redirect_uri", omit) }, "invalid_request", false},
		{"RFC 6749 §4.1.3: another client's code", func(code string) answer {
			return w.redeem("other", code, "redirect_uri", "https://web.example.com/cb")
		}, "invalid_grant", false},
		{"RFC 6749 §4.1.3: another client's code, public", func(code string) answer {
			return w.redeem("cli", code, "redirect_uri", "https://web.example.com/cb")
		}, "invalid_grant", false},
		{"RFC 6749 §5.2: code missing", func(string) answer { return w.redeem("web", "", "code", omit) }, "invalid_request", false},
		{"RFC 6749 §3.1: code empty", func(string) answer { return w.redeem("web", "") }, "invalid_request", false},
		{"garbage", func(string) answer { return w.redeem("web", "garbage") }, "invalid_grant", false},
		{"cut short", func(code string) answer { return w.redeem("web", code[:len(code)-1]) }, "invalid_grant", false},
		{"tampered", func(code string) answer {
			bad := []byte(code)
			bad[len(bad)/2] ^= 1
			return w.redeem("web", string(bad))
		}, "invalid_grant", false},
		{"of 3 kB", func(code string) answer { return w.redeem("web", strings.Repeat(code, 8)) }, "invalid_grant", false},
		{"another purpose: a handle", func(string) answer {
			return w.redeem("web", w.browser().handle("web"))
		}, "invalid_grant", false},
		{"sealed nonsense", func(string) answer { return w.redeem("web", sealed(codePurpose, []byte("nonsense"))) }, "invalid_grant", false},
		{"sealed nothing", func(string) answer { return w.redeem("web", sealed(codePurpose, []byte("{}"))) }, "invalid_grant", false},
		{"RFC 6749 §5.2: grant_type missing", func(code string) answer { return w.redeem("web", code, "grant_type", omit) }, "invalid_request", false},
		{"RFC 6749 §5.2: grant_type unknown", func(code string) answer { return w.redeem("web", code, "grant_type", "magic") }, "unsupported_grant_type", false},
		{"grant_type in another case", func(code string) answer { return w.redeem("web", code, "grant_type", "Authorization_Code") }, "unsupported_grant_type", false},
		{"RFC 6749 §5.2: client_id of another client", func(code string) answer { return w.redeem("web", code, "client_id", "other") }, "invalid_client", false},
	} {
		w.run(tt.name, func(t *testing.T) {
			code := b.code("web")
			a := tt.exchange(code)
			if tt.error == "" {
				w.granted(a)
			} else if status := (&Error{Code: tt.error}).status(); a.status != status || a.json["error"] != tt.error {
				t.Errorf("%s, want %d %s", a, status, tt.error)
			}
			if again := w.redeem("web", code); (again.status != 200) != tt.burns {
				t.Errorf("afterwards the code gives %s", again)
			}
		})
	}
}

// S7 and its like: grants that are not ours are refused whatever they carry.
func TestGrantsThatAreNotOurs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, grant := range []string{
		"password", "client_credentials", "implicit", "urn:ietf:params:oauth:grant-type:jwt-bearer",
		"urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:grant-type:device_code",
	} {
		w.run(grant, func(t *testing.T) {
			a := w.api("/token", "web", "grant_type", grant, "assertion", "a.b.c", "username", "ada", "password", "x", "device_code", "x",
				"subject_token", "x", "subject_token_type", "urn:ietf:params:oauth:token-type:access_token")
			if code := a.json["error"]; a.status != 400 || code != "unsupported_grant_type" && code != "unauthorized_client" {
				t.Errorf("%s: %s", a, a.body)
			}
			if len(a.writes)+len(a.reads) > 0 {
				t.Errorf("asked the database: %v %v", a.reads, a.writes)
			}
		})
	}
	w.run("RFC 6749 §5.2: unauthorized_client", func(t *testing.T) {
		w.refresh("once", "x").is(400, "unauthorized_client")
	})
	w.run("the request of a client that may not have codes", func(t *testing.T) {
		c := w.client("web")
		c.GrantTypes = []string{"refresh_token"}
		w.provider.clients.fixed["web"] = c
		w.signedIn("ada@example.com").authorize("web").isError("unauthorized_client")
	})
}

// RFC 6749 §4.1.2: a minute, to the microsecond.
func TestCodeExpires(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	good, late := b.code("web"), b.code("web")
	w.clock.pass(codeTTL - time.Microsecond)
	g := w.granted(w.redeem("web", good))
	w.clock.pass(time.Microsecond)
	w.redeem("web", late).is(400, "invalid_grant")
	if !w.active(g.access) {
		t.Error("the first is not active")
	}
	// oidcc-codereuse-30seconds: a replay revokes, however late.
	w.redeem("web", good).is(400, "invalid_grant")
	w.userinfo(g.access).is(401, "invalid_token")

	// Long after everything about the login was swept away.
	w.clock.pass(60 * 24 * time.Hour)
	if _, err := w.engine.Sweep(t.Context(), w.clock.Now(), 1000); err != nil {
		t.Fatal(err)
	}
	for _, code := range []string{good, late} {
		w.redeem("web", code).is(400, "invalid_grant")
		w.redeem("web", code, "code_verifier", verifier).is(400, "invalid_grant")
	}
}

// RFC 6749 §4.1.2, RFC 9700 §2.1.1: a code used twice revokes what it gave.
func TestReplayedCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	for _, tt := range []struct {
		name   string
		replay func(code string) answer
	}{
		{"oidcc-codereuse", func(code string) answer { return w.redeem("web", code) }},
		{"with another redirect_uri", func(code string) answer { return w.redeem("web", code, "redirect_uri", "https://evil.example/") }},
		{"with a verifier", func(code string) answer { return w.redeem("web", code, "code_verifier", verifier) }},
	} {
		w.run(tt.name, func(t *testing.T) {
			other := b.tokens("web")
			code := b.code("web", "scope", "openid offline_access")
			g := w.granted(w.redeem("web", code))
			refreshed := w.granted(w.refresh("web", g.refresh))
			tt.replay(code).is(400, "invalid_grant")
			for _, token := range []string{g.access, refreshed.access} {
				w.userinfo(token).is(401, "invalid_token")
			}
			for _, token := range []string{g.access, refreshed.access, refreshed.refresh} {
				if w.active(token) {
					t.Error("a token is still active")
				}
			}
			w.refresh("web", refreshed.refresh).is(400, "invalid_grant")
			tt.replay(code).is(400, "invalid_grant")
			if !w.active(other.access) {
				t.Error("another login's tokens were revoked, too")
			}
		})
	}
	w.run("by another client it revokes nothing", func(t *testing.T) {
		code := b.code("web")
		g := w.granted(w.redeem("web", code))
		w.redeem("other", code, "redirect_uri", "https://web.example.com/cb").is(400, "invalid_grant")
		w.userinfo(g.access)
		if !w.active(g.access) {
			t.Error("a client can revoke another's tokens")
		}
	})
}

const racers = 32

// race has n goroutines do the same at once and gives what came of it.
func race(n int, do func() answer) []answer {
	answers := make([]answer, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			answers[i] = do()
		})
	}
	close(start)
	wg.Wait()
	return answers
}

// winners are the answers that hold tokens; every other must be invalid_grant.
func winners(t *testing.T, answers []answer) []answer {
	t.Helper()
	var won []answer
	for _, a := range answers {
		switch {
		case a.status == 200 && a.json["access_token"] != nil:
			won = append(won, a)
		case a.status != 400 || a.json["error"] != "invalid_grant":
			t.Errorf("a loser got %s", a)
		}
	}
	return won
}

func TestCodeIsRedeemedOnceByManyAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	code := b.code("web", "scope", "openid offline_access")
	won := winners(t, race(racers, func() answer { return w.redeem("web", code) }))
	if len(won) != 1 {
		t.Fatalf("%d of %d callers won", len(won), racers)
	}
	// Seen from outside all the others were replays.
	g := w.granted(won[0])
	w.userinfo(g.access).is(401, "invalid_token")
	w.refresh("web", g.refresh).is(400, "invalid_grant")
}

// Half of them know the verifier, half guess: none but one can win.
func TestGuessesRaceTheRightVerifier(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	code := b.code("spa")
	var mu sync.Mutex
	n := 0
	won := winners(t, race(racers, func() answer {
		mu.Lock()
		n++
		right := n%2 == 0
		mu.Unlock()
		if right {
			return w.redeem("spa", code)
		}
		return w.redeem("spa", code, "code_verifier", strings.Repeat("a", 43))
	}))
	if len(won) > 1 {
		t.Errorf("%d callers won", len(won))
	}
	for _, a := range won {
		w.userinfo(w.granted(a).access).is(401, "invalid_token")
	}
}

func TestSessionBetweenAuthorizationAndToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run("ended", func(t *testing.T) {
		b := w.signedIn("ada@example.com")
		code := b.code("web", "scope", "openid offline_access")
		b.endSession()
		w.redeem("web", code).is(400, "invalid_grant")
	})
	w.run("user disabled", func(t *testing.T) {
		b := w.signedIn("bob@example.com")
		code := b.code("web", "scope", "openid offline_access")
		if err := w.engine.DisableUser(t.Context(), b.login().User.ID, w.clock.Now()); err != nil {
			t.Fatal(err)
		}
		w.redeem("web", code).is(400, "invalid_grant")
	})
	w.run("user deleted", func(t *testing.T) {
		for name, pairs := range map[string][]string{"in time": nil, "with a wrong proof": {"redirect_uri", "https://elsewhere.example.com/cb"}} {
			b := w.signedIn("gone@example.com")
			code := b.code("web", "scope", "openid offline_access")
			if err := w.engine.DeleteUser(t.Context(), b.login().User.ID, w.clock.Now()); err != nil {
				t.Fatal(err)
			}
			if a := w.redeem("web", code, pairs...); a.status != 400 || a.json["error"] != "invalid_grant" {
				t.Errorf("%s: %s", name, a)
			}
		}
	})
	w.run("what was allowed is taken back, and allowed again", func(t *testing.T) {
		b := w.signedIn("erin@example.com")
		wants := []string{"scope", "openid offline_access", "claims", `{"userinfo":{"email":null}}`}
		code := b.submit(b.authorize("ask", wants...), "consent-allow").code()
		ofNobody := b.code("web", "scope", "openid offline_access") // asks nobody
		for _, client := range []string{"ask", "web"} {
			if err := w.engine.RemoveApp(t.Context(), b.login().User.ID, client, w.clock.Now()); err != nil {
				t.Fatal(err)
			}
		}
		w.redeem("ask", code).is(400, "invalid_grant")
		b.submit(b.authorize("ask", "scope", "openid offline_access"), "consent-allow").code()
		w.redeem("ask", code).is(400, "invalid_grant") // it had asked for the address, too
		w.granted(w.redeem("ask", b.submit(b.authorize("ask", wants...), "consent-allow").code()))
		w.granted(w.redeem("web", ofNobody))
	})
	w.run("somebody else has signed in", func(t *testing.T) {
		b := w.signedIn("ada@example.com")
		code := b.code("web")
		b.signIn("carl@example.com")
		w.redeem("web", code).is(400, "invalid_grant")
	})
	w.run("the same person again: auth_time is that of the authorization", func(t *testing.T) {
		b := w.signedIn("ada@example.com")
		first := b.login().Session.AuthTime
		code := b.code("web")
		w.clock.pass(20 * time.Second)
		b.signIn("ada@example.com")
		if g := w.granted(w.redeem("web", code)); g.claims["auth_time"] != float64(first.Unix()) {
			t.Errorf("auth_time %v, want %d", g.claims["auth_time"], first.Unix())
		}
	})
	w.run("the code names a session of somebody else", func(t *testing.T) {
		ada, bob := w.signedIn("ada@example.com").login(), w.signedIn("bob2@example.com").login()
		ada.Session = bob.Session
		code, err := w.provider.newCode(request{ClientID: "web", RedirectURI: "https://web.example.com/cb", Scopes: []string{"openid"}}, w.client("web"), ada)
		if err != nil {
			t.Fatal(err)
		}
		w.redeem("web", code).is(400, "invalid_grant")
	})
}

// The conformance suite wants 96 bits by Shannon's formula; a code tells
// nothing of what it seals.
// Who is denied between the authorization and the token gets none.
func TestDeniedBetweenAuthorizationAndToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	code := w.signedIn("ada@example.com").code("web")
	w.provider.cfg.Deny = []string{"ada@example.com"}
	w.redeem("web", code).is(400, "invalid_grant")
}

func TestCodeIsOpaque(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	code := b.code("web", "state", omit, "nonce", omit)
	seen := map[rune]int{}
	for _, r := range code {
		seen[r]++
	}
	if len(code) < 43 || len(code) > 1024 || len(seen) < 16 {
		t.Errorf("%d characters, %d different", len(code), len(seen))
	}
	plain := string(unbase64(w, code))
	login := b.login()
	for _, secret := range []string{login.Session.ID, login.User.ID, "web.example.com"} {
		if strings.Contains(plain, secret) {
			t.Error("the code shows what it seals")
		}
	}
	if b.code("web") == code {
		t.Error("two codes are the same")
	}
}

// When the answer of the database is lost, the client may try again and gets
// nothing, rather than two families of tokens.
func TestLostAnswerOfRedeemCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	code := b.code("web")
	w.store.failAfter("RedeemCode", errBroken)
	w.redeem("web", code).is(503, "temporarily_unavailable")
	w.store.heal()
	w.redeem("web", code).is(400, "invalid_grant")

	code = b.code("web")
	w.store.failBefore("RedeemCode", errBroken)
	w.redeem("web", code).is(503, "temporarily_unavailable")
	w.store.heal()
	w.granted(w.redeem("web", code))
}

// Anything but a code that newCode made is invalid_grant and touches no
// database, whatever is in it.
func FuzzCode(f *testing.F) {
	w := newWorld(f)
	b := w.signedIn("ada@example.com")
	good := b.code("web")
	plain, err := w.provider.cfg.Secret.Open(codePurpose, good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good[1:], []byte(nil))
	f.Add(strings.ToLower(good), []byte(nil))
	f.Add("", plain[1:])
	f.Add("", []byte(`{"c":"web","r":"https://web.example.com/cb","e":9223372036854775807,"a":-9223372036854775808}`))
	f.Add("", []byte(`{"c":"web","x":"!"}`))
	f.Add("", []byte(`{"c":"web","s":[null,1]}`))
	f.Add("", []byte(`null`))
	f.Add("", []byte(`[]`))
	f.Fuzz(func(t *testing.T, code string, sealed []byte) {
		w.TB = t
		if code == "" {
			code = w.provider.cfg.Secret.Seal(codePurpose, sealed)
		}
		if code == good {
			return
		}
		u := &usage{}
		ctx := context.WithValue(context.Background(), usageKey{}, u)
		r := newRequest("POST", "/token", nil).WithContext(ctx)
		got, err := w.provider.redeem(tokenRequest{
			call:   &call{Request: r, form: params("code", code, "redirect_uri", "https://web.example.com/cb"), header: http.Header{}},
			client: w.client("web"),
		})
		e := publicError(err)
		if got != nil || err == nil {
			t.Fatalf("redeemed %q", code)
		}
		var c struct {
			ClientID string `json:"c"`
		}
		ours := json.Unmarshal(sealed, &c) == nil && c.ClientID == "web"
		if !ours && (e.Code != invalidGrant || len(u.writes) > 0) {
			t.Errorf("refused with %v, wrote %v", err, u.writes)
		}
		rec := httptest.NewRecorder()
		w.provider.writeError(rec, r, e, func(http.Header, *http.Request, *Error) {})
		if rec.Code != 400 && rec.Code != 503 {
			t.Errorf("status %d", rec.Code)
		}
	})
}

func TestGrantIDTellsNothingOfTheCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.signedIn("ada@example.com")
	code := b.code("web", "scope", "openid offline_access")
	g := w.granted(w.redeem("web", code))
	random, generation, ok := w.provider.readRefreshToken(g.refresh)
	if !ok || generation != 1 {
		t.Fatal("not a refresh token of ours")
	}
	id := accessClaims{ID: g.accessClaims["jti"].(string)}.grantID()
	if id != keys.Hash(random) || slices.Contains([]string{g.refresh, code}, id) {
		t.Errorf("grant %q", id)
	}
}
