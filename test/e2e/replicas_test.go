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

	"github.com/sealpost/sealpost/test/world"
	"golang.org/x/oauth2"
)

// balancer stands at the address of the issuer, before several instances, and
// sends every request where the test says.
type balancer struct{ to atomic.Pointer[url.URL] }

// newBalancer takes the address of the world's issuer.
func newBalancer(w *world.World) *balancer {
	w.T.Helper()
	b := &balancer{}
	l, err := net.Listen("tcp", strings.TrimPrefix(w.Issuer, "http://"))
	if err != nil {
		w.T.Fatal(err)
	}
	server := &http.Server{Handler: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(b.to.Load())
		r.Out.Host = r.In.Host
		r.SetXForwarded()
	}}}
	go func() { _ = server.Serve(l) }() // it ends with Close
	w.T.Cleanup(func() { _ = server.Close() })
	return b
}

// replicas starts two instances on one database at the same time and gives
// their addresses.
func replicas(w *world.World, changes map[string]any) [2]*url.URL {
	w.T.Helper()
	var at [2]*url.URL
	var both [2]*world.Instance
	for i := range both {
		at[i] = &url.URL{Scheme: "http", Host: "127.0.0.1:" + world.FreePort(w.T)}
		settings := map[string]any{"listen": at[i].Host, "trusted_proxies": []string{"127.0.0.1"}}
		for key, value := range changes {
			settings[key] = value
		}
		both[i] = w.Launch(settings)
	}
	for i, in := range both {
		in.Ready(at[i].String())
	}
	return at
}

func TestLoginThatBeganOnOneReplicaGoesOnAtAnother(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		front := newBalancer(w)
		at := replicas(w, nil)

		front.to.Store(at[0])
		_, first := w.Send(http.MethodGet, w.Issuer+"/jwks", "", nil)
		vic, b, there := w.Person("Vic"), w.Browser(world.Firefox), w.Browser(world.Phone)
		login := w.App.Begin()
		tab, letter := b.Ask(login, vic)

		front.to.Store(at[1])
		if _, second := w.Send(http.MethodGet, w.Issuer+"/jwks", "", nil); second != first {
			t.Errorf("the replicas have different keys:\n%s\n%s", first, second)
		}
		code := there.Submit(there.Open(letter.Link).MustBe("other-browser", http.StatusOK), "show-code").MustBe("code", http.StatusOK).Code()
		w.Seen.Secret("code", code)
		arrived := b.Submit(b.Open(letter.Link).MustBe("confirm", http.StatusOK), "confirm")

		front.to.Store(at[0])
		got := login.Finish(arrived)
		if got.Claims.Email != vic {
			t.Errorf("the application knows %q", got.Claims.Email)
		}
		b.MovesOn(tab).MustBe("signed-in", http.StatusOK)

		front.to.Store(at[1])
		if _, err := login.Provider.UserInfo(w.App.Ctx(), oauth2.StaticTokenSource(got.Token)); err != nil {
			t.Errorf("userinfo: %v", err)
		}
		if _, err := login.Refresh(got.Token); err != nil {
			t.Errorf("refresh: %v", err)
		}
		refused(t, "replayed code", "invalid_grant", func() error { _, err := login.Redeem(got.Code); return err })
		if n := len(w.Mail.To(vic)); n != 1 {
			t.Errorf("%d mails for one login", n)
		}
	})
}

func TestReplicasCountLimitsTogether(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		front := newBalancer(w)
		at := replicas(w, map[string]any{"limits": map[string]any{"per_address": "3/10m"}})

		wim := w.Person("Wim")
		for i, want := range []int{200, 200, 200, 429, 429} {
			front.to.Store(at[i%2])
			if answer, body := postEmail(w, w.Issuer, wim); answer.StatusCode != want {
				t.Errorf("request %d: %s %s, want %d", i+1, answer.Status, body, want)
			}
		}

		// At once, through both.
		var sent, limited atomic.Int32
		xia := w.Person("Xia")
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				r, err := http.NewRequest(http.MethodPost, at[i%2].String()+"/send-magic-link", strings.NewReader(`{"email":"`+xia+`"}`))
				if err != nil {
					t.Error(err)
					return
				}
				r.Host = strings.TrimPrefix(w.Issuer, "http://")
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
