package fault

import (
	"net/http"
	"testing"

	"golang.org/x/oauth2"

	"github.com/sealpost/sealpost/storage/postgres/postgrestest"
	"github.com/sealpost/sealpost/test/world"
)

func TestSlowDatabase(t *testing.T) {
	onPostgres(t, func(t *testing.T, w *world.World, db wire) {
		in, ada := w.Start(nil), newPerson(w, "Ada")
		db.hurt("downstream", "latency", map[string]any{"latency": 200, "jitter": 100})
		login := w.App.Begin()
		tab, letter := ada.Ask(login, ada.address)
		got := login.Finish(ada.Submit(ada.Open(letter.Link).MustBe("confirm", http.StatusOK), "confirm"))
		if _, err := login.Refresh(got.Token); err != nil {
			t.Errorf("refresh: %v", err)
		}
		ada.MovesOn(tab).MustBe("signed-in", http.StatusOK)
		db.heal()
		in.Stop()
		w.Hold()
	})
}

// steps of a login, each of them once while something is broken, and once when
// it is whole again.
func steps(t *testing.T, w *world.World, breaks, whole func()) {
	t.Helper()
	ben := newPerson(w, "Ben")
	broken := func(try func()) {
		t.Helper()
		breaks()
		try()
		if got := status(t, w.Issuer+"/readyz"); got != http.StatusServiceUnavailable {
			t.Errorf("/readyz: %d", got)
		}
		if got := status(t, w.Issuer+"/healthz"); got != http.StatusOK {
			t.Errorf("/healthz: %d", got)
		}
		whole()
	}
	login := w.App.Begin()
	form := ben.Open(login.Address).MustBe("login", http.StatusOK)
	broken(func() { unavailable(t, ben.submit(form, "email", "email", ben.address)) })
	tab := ben.Submit(form, "email", "email", ben.address).MustBe("sent", http.StatusOK)
	letter := w.Mail.Next(ben.address)
	broken(func() { unavailable(t, ben.Open(letter.Link)) })
	link := ben.Open(letter.Link).MustBe("confirm", http.StatusOK)
	broken(func() {
		unavailable(t, ben.submit(link, "confirm"))
		if ben.SignedIn() {
			t.Error("a session was given that is not stored")
		}
	})
	code := ben.Submit(link, "confirm").Answer().Get("code")
	broken(func() {
		_, err := login.Redeem(code)
		unavailableToo(t, "code", err)
	})
	token, err := login.Redeem(code)
	if err != nil {
		t.Fatalf("redeem: %v", err)
	}
	broken(func() {
		_, err := login.Refresh(token)
		unavailableToo(t, "refresh", err)
	})
	if token, err = login.Refresh(token); err != nil {
		t.Fatalf("refresh: %v", err)
	}
	broken(func() {
		if _, err := login.Provider.UserInfo(w.App.Ctx(), oauth2.StaticTokenSource(token)); err == nil {
			t.Error("userinfo knows what nobody could ask")
		}
	})
	if _, err := login.Provider.UserInfo(w.App.Ctx(), oauth2.StaticTokenSource(token)); err != nil {
		t.Errorf("userinfo: %v", err)
	}
	_, err = login.Redeem(code)
	refused(t, "replayed code", err)
	_, err = login.Refresh(token)
	refused(t, "refresh after a replayed code", err)
	ben.MovesOn(tab).MustBe("signed-in", http.StatusOK)
	silent := w.App.Begin()
	silent.Finish(ben.Open(silent.Address))
	if n := len(w.Mail.To(ben.address)); n != 1 {
		t.Errorf("%d mails, want 1", n)
	}
}

func TestDatabaseThatCannotBeReached(t *testing.T) {
	onPostgres(t, func(t *testing.T, w *world.World, db wire) {
		in := w.Start(nil)
		steps(t, w, db.cut, db.mend)
		in.Stop()
		w.Hold()
	})
}

// Half-open connections: nothing says that the other side is gone.
func TestDatabaseThatFallsSilent(t *testing.T) {
	onPostgres(t, func(t *testing.T, w *world.World, db wire) {
		in, cal := w.Start(nil), newPerson(w, "Cal")
		login := w.App.Begin()
		form := cal.Open(login.Address).MustBe("login", http.StatusOK)
		db.silence()
		unavailable(t, cal.submit(form, "email", "email", cal.address))
		db.heal()
		_, letter := cal.Submit(form, "email", "email", cal.address).MustBe("sent", http.StatusOK), w.Mail.Next(cal.address)
		login.Finish(cal.Submit(cal.Open(letter.Link).MustBe("confirm", http.StatusOK), "confirm"))
		in.Stop()
		w.Hold()
	})
}

// The database answers and the answer breaks off, at any byte: what was asked
// for may have been done or not.
func TestAnswersOfTheDatabaseThatBreakOff(t *testing.T) {
	onPostgres(t, func(t *testing.T, w *world.World, db wire) {
		w.Settings["limits"] = map[string]any{"per_network": "off"}
		in, breaks := w.Start(nil), 0
		for bytes := 0; bytes <= 1600; bytes += 100 {
			dee := newPerson(w, "Dee")
			login := w.App.Begin()
			form := dee.Open(login.Address).MustBe("login", http.StatusOK)
			through := func(page world.Page, form string, fields ...string) world.Page {
				t.Helper()
				db.hurt("downstream", "limit_data", map[string]any{"bytes": bytes})
				got := dee.submit(page, form, fields...)
				db.heal()
				if got.Status == http.StatusServiceUnavailable {
					unavailable(t, got)
					breaks++
					got = dee.Submit(page, form, fields...)
				}
				return got
			}
			through(form, "email", "email", dee.address).MustBe("sent", http.StatusOK)
			// The mail may wait: the outbox did not hear what it had claimed. So she
			// asks once more; each link is good.
			dee.Submit(form, "email", "email", dee.address).MustBe("sent", http.StatusOK)
			var arrived world.Page
			world.Eventually(t, "link that leads to the application", func() bool {
				letter := w.Mail.Next(dee.address)
				link := dee.Open(letter.Link).MustBe("confirm", http.StatusOK)
				arrived = through(link, "confirm")
				return arrived.At.Host == world.AppHost
			})
			login.Finish(arrived)
		}
		if breaks == 0 {
			t.Error("nothing broke off")
		}
		in.Stop()
		w.Environ = []string{"FAILPOINT_CLOCK=" + leased}
		w.Start(nil).Stop() // sends what is due
		w.Hold()
	})
}

// The server of the database crashes before each step, and is back at once.
func TestDatabaseThatCrashes(t *testing.T) {
	t.Parallel()
	w, c := world.New(t, "postgres"), postgrestest.NewCluster(t)
	w.Troubled = true
	w.Database = c.URL
	w.Settings["database"] = c.URL
	w.Seen.Secret("database URL", c.URL)
	in, eve := w.Start(nil), newPerson(w, "Eve")
	// insist sends a form until it is answered: connections that the crash has
	// ended may be used once more.
	insist := func(page world.Page, form string, fields ...string) (got world.Page) {
		t.Helper()
		c.Crash(t)
		world.Eventually(t, "answer", func() bool {
			if got = eve.submit(page, form, fields...); got.Status == http.StatusServiceUnavailable {
				unavailable(t, got)
			}
			return got.Status != http.StatusServiceUnavailable
		})
		return got
	}
	login := w.App.Begin()
	form := eve.Open(login.Address).MustBe("login", http.StatusOK)
	tab := insist(form, "email", "email", eve.address).MustBe("sent", http.StatusOK)
	letter := w.Mail.Next(eve.address)
	link := eve.Open(letter.Link).MustBe("confirm", http.StatusOK)
	code := insist(link, "confirm").Answer().Get("code")
	c.Crash(t)
	var token *oauth2.Token
	world.Eventually(t, "tokens", func() (done bool) {
		var err error
		if token, err = login.Redeem(code); err != nil {
			unavailableToo(t, "code", err)
		}
		return err == nil
	})
	c.Crash(t)
	world.Eventually(t, "fresh tokens", func() bool {
		_, err := login.Refresh(token)
		if err != nil {
			unavailableToo(t, "refresh", err)
		}
		return err == nil
	})
	eve.MovesOn(tab).MustBe("signed-in", http.StatusOK)
	in.Stop()
	w.Hold()
}
