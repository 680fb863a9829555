package fault

import (
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sealpost/sealpost/test/world"
)

// clocks are two replicas, the second of them an hour ahead.
type clocks struct {
	w    *world.World
	both [2]*world.Instance
	at   [2]*url.URL
	to   atomic.Pointer[url.URL]
}

// newClocks takes the address of the issuer, and starts the first.
func newClocks(w *world.World) *clocks {
	w.T.Helper()
	c := &clocks{w: w}
	l, err := net.Listen("tcp", strings.TrimPrefix(w.Issuer, "http://"))
	if err != nil {
		w.T.Fatal(err)
	}
	server := &http.Server{Handler: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(c.to.Load())
		r.Out.Host = r.In.Host
		r.SetXForwarded()
	}}}
	go func() { _ = server.Serve(l) }() // it ends with Close
	w.T.Cleanup(func() { _ = server.Close() })
	c.start(0, "0s")
	return c
}

func (c *clocks) start(i int, ahead string) {
	c.w.T.Helper()
	c.at[i] = &url.URL{Scheme: "http", Host: "127.0.0.1:" + world.FreePort(c.w.T)}
	c.w.Environ = []string{"FAILPOINT_CLOCK=" + ahead}
	c.both[i] = c.w.Launch(map[string]any{"listen": c.at[i].Host, "trusted_proxies": []string{"127.0.0.1"}})
	c.both[i].Ready(c.at[i].String())
	c.use(i)
}

// use sends all that follows to one of them.
func (c *clocks) use(i int) { c.to.Store(c.at[i]) }

// What is made by one clock is judged by the other: what each says is true by
// its own, and nothing is good twice.
func TestReplicasAnHourApart(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		const right, ahead = 0, 1
		c, ada := newClocks(w), newPerson(w, "Ada")
		login := w.App.Begin()
		tab, letter := ada.Ask(login, ada.address)

		// The links of the one have expired at the other, which sends another.
		c.start(ahead, "1h")
		ended := ada.Open(letter.Link).MustBe("expired", http.StatusGone)
		ada.Submit(ended, "resend").MustBe("sent", http.StatusOK)
		newer := w.Mail.Next(ada.address)
		c.use(right)
		arrived := ada.Submit(ada.Open(newer.Link).MustBe("confirm", http.StatusOK), "confirm")
		ada.MovesOn(tab).MustBe("signed-in", http.StatusOK)

		// A code lives for a minute. Who finds it expired burns it, for all.
		code := arrived.Answer().Get("code")
		for _, i := range []int{ahead, right} {
			c.use(i)
			_, err := login.Redeem(code)
			refused(t, "a code that has expired by one clock", err)
		}

		// Sessions are good at both, and so is their end.
		for _, i := range []int{ahead, right} {
			c.use(i)
			silent := w.App.Begin()
			got := silent.Finish(ada.Open(silent.Address))
			token, err := silent.Refresh(got.Token)
			if err != nil {
				t.Fatalf("refresh: %v", err)
			}
			c.use(1 - i)
			if _, err := silent.Refresh(token); err != nil {
				t.Errorf("refresh at the other: %v", err)
			}
			if i == right {
				ada.Open(silent.LogoutAddress(got, "bye")).Answer()
			}
		}
		for _, i := range []int{right, ahead} {
			c.use(i)
			ada.Open(w.App.Begin().Address).MustBe("login", http.StatusOK)
		}
		for _, in := range c.both {
			in.Stop()
		}
		w.Hold()
	})
}
