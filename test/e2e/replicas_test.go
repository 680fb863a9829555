package e2e

import (
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/oauth2"
)

// balancer stands at the address of the issuer, before several instances, and
// sends every request where the test says.
type balancer struct{ to atomic.Pointer[url.URL] }

// newBalancer takes the address of the world's issuer.
func newBalancer(w *world) *balancer {
	w.t.Helper()
	b := &balancer{}
	l, err := net.Listen("tcp", strings.TrimPrefix(w.issuer, "http://"))
	if err != nil {
		w.t.Fatal(err)
	}
	server := &http.Server{Handler: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(b.to.Load())
		r.Out.Host = r.In.Host
		r.SetXForwarded()
	}}}
	go func() { _ = server.Serve(l) }() // it ends with Close
	w.t.Cleanup(func() { _ = server.Close() })
	return b
}

// replicas starts two instances on one database at the same time and gives
// their addresses.
func (w *world) replicas(changes map[string]any) [2]*url.URL {
	w.t.Helper()
	var at [2]*url.URL
	var both [2]*instance
	for i := range both {
		at[i] = &url.URL{Scheme: "http", Host: "127.0.0.1:" + freePort(w.t)}
		settings := map[string]any{"listen": at[i].Host, "trusted_proxies": []string{"127.0.0.1"}}
		for key, value := range changes {
			settings[key] = value
		}
		both[i] = w.launch(settings)
	}
	for i, in := range both {
		in.ready(at[i].String())
	}
	return at
}

func TestLoginThatBeganOnOneReplicaGoesOnAtAnother(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		front := newBalancer(w)
		at := w.replicas(nil)

		front.to.Store(at[0])
		_, first := w.send(http.MethodGet, w.issuer+"/jwks", "", nil)
		vic, b, there := w.person("Vic"), w.browser(firefox), w.browser(phone)
		login := w.app.begin()
		tab, letter := b.ask(login, vic)

		front.to.Store(at[1])
		if _, second := w.send(http.MethodGet, w.issuer+"/jwks", "", nil); second != first {
			t.Errorf("the replicas have different keys:\n%s\n%s", first, second)
		}
		code := there.submit(there.open(letter.Link).is("other-browser", http.StatusOK), "show-code").is("code", http.StatusOK).code()
		w.seen.secret("code", code)
		arrived := b.submit(b.open(letter.Link).is("confirm", http.StatusOK), "confirm")

		front.to.Store(at[0])
		got := login.finish(arrived)
		if got.claims.Email != vic {
			t.Errorf("the application knows %q", got.claims.Email)
		}
		b.movesOn(tab).is("signed-in", http.StatusOK)

		front.to.Store(at[1])
		if _, err := login.provider.UserInfo(w.app.ctx(), oauth2.StaticTokenSource(got.token)); err != nil {
			t.Errorf("userinfo: %v", err)
		}
		if _, err := login.refresh(got.token); err != nil {
			t.Errorf("refresh: %v", err)
		}
		refused(t, "replayed code", "invalid_grant", func() error { _, err := login.redeem(got.code); return err })
		if n := len(w.mail.to(vic)); n != 1 {
			t.Errorf("%d mails for one login", n)
		}
	})
}

func TestReplicasCountLimitsTogether(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		front := newBalancer(w)
		at := w.replicas(map[string]any{"limits": map[string]any{"per_address": "3/10m"}})

		wim := w.person("Wim")
		for i, want := range []int{200, 200, 200, 429, 429} {
			front.to.Store(at[i%2])
			if answer, body := w.postEmail(w.issuer, wim); answer.StatusCode != want {
				t.Errorf("request %d: %s %s, want %d", i+1, answer.Status, body, want)
			}
		}

		// At once, through both.
		var sent, limited atomic.Int32
		xia := w.person("Xia")
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				r, err := http.NewRequest(http.MethodPost, at[i%2].String()+"/send-magic-link", strings.NewReader(`{"email":"`+xia+`"}`))
				if err != nil {
					t.Error(err)
					return
				}
				r.Host = strings.TrimPrefix(w.issuer, "http://")
				r.Header.Set("Content-Type", "application/json")
				answer, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				_ = answer.Body.Close()
				switch answer.StatusCode {
				case http.StatusOK:
					sent.Add(1)
				case http.StatusTooManyRequests:
					limited.Add(1)
				}
			})
		}
		all.Wait()
		if sent.Load() != 3 || limited.Load() != 17 {
			t.Errorf("of 20 at once %d were sent and %d limited, want 3 and 17", sent.Load(), limited.Load())
		}
	})
}
