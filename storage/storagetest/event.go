package storagetest

import (
	"slices"
	"strings"
	"time"

	"github.com/sealpost/sealpost/storage"
)

var eventTests = []test{
	{name: "a login tells of the user it made and of the proof", run: eventLogin},
	{name: "a login tells of the session it ends", run: eventLoginInstead},
	{name: "a refused login tells nothing", run: eventLoginRefused},
	{name: "one of 32 logins is told of", run: eventLoginRace},
	{name: "\"This wasn't me\" is told of once", run: eventNotMe},
	{name: "the last try is told of when it is wrong", run: eventBurned},
	{name: "the end of a live session is told of", run: eventSessionEnded},
	{name: "a session signs in to an application once", run: eventSignedIn},
	{name: "32 codes of one session and application are one sign-in", run: eventSignedInRace},
	{name: "a replayed code is told of when it takes something back", run: eventCodeReplayed},
	{name: "32 replays of a code are told of once", run: eventCodeReplayedRace},
	{name: "a replayed refresh token is told of once", run: eventRefreshReplayed},
	{name: "a grant that is given back is told of once", run: eventGrantRevoked},
	{name: "a consent is told of when it is new", run: eventConsent},
	{name: "a device is allowed once", run: eventDevice},
	{name: "what is done to users is told of", run: eventUsers},
	{name: "what people do on the account page is told of", run: eventAccount},
	{name: "a new address is told of", run: eventAddress},
	{name: "a mute is told of when it is longer", run: eventMuted},
	{name: "a deleted user is told of, and stays in the log by id", run: eventDeleted},
	{name: "what is done to clients is told of", run: eventClients},
	{name: "keys that come and go are told of", run: eventKeys},
	{name: "events carry who did it", run: eventActor},
	{name: "events are found by what they are about", run: eventFilter},
	{name: "events are read page by page, the newest first", run: eventPages},
	{name: "events go when they are old, a bounded batch at a time", run: eventSweep},
}

// events are all events, the newest first.
func (d *db) events() []storage.Event {
	d.Helper()
	all, err := d.Events(d.Context(), storage.EventFilter{Limit: 1000})
	d.must(err)
	return all
}

// wantEvents checks which events do writes, in this order. Their Seq grows, which
// is all that it tells.
func (d *db) wantEvents(what string, do func(), want ...storage.Event) {
	d.Helper()
	last := int64(0)
	if before := d.events(); len(before) > 0 {
		last = before[0].Seq
	}
	do()
	got := []storage.Event{}
	sessions := len(got) // where the sessions begin that ended last
	for _, e := range slices.Backward(d.events()) {
		if e.Seq > last {
			last, e.Seq = e.Seq, 0
			got = append(got, e)
			if e.Name != storage.EventSessionEnded {
				sessions = len(got)
			}
		}
	}
	slices.SortFunc(got[sessions:], bySession) // they end in any order
	same(d, "events: "+what, got, append([]storage.Event{}, want...))
}

func bySession(a, b storage.Event) int { return strings.Compare(a.SessionID, b.SessionID) }

// fromAttempt is an event at t0 with what an attempt of this package tells.
func fromAttempt(name storage.EventName, userID string) storage.Event {
	return storage.Event{At: t0, Name: name, UserID: userID, ClientID: "client", Agent: "Firefox on Linux", Network: "192.0.2.0/24"}
}

// fromSession is an event at t0 with what a session of this package tells.
func fromSession(name storage.EventName, l storage.Login) storage.Event {
	return storage.Event{At: t0, Name: name, UserID: l.User.ID, SessionID: l.Session.ID, Agent: "Safari on iOS", Network: "2001:db8::/48"}
}

// about is an event at t0 of a client and a session.
func about(name storage.EventName, l storage.Login) storage.Event {
	return storage.Event{At: t0, Name: name, UserID: l.User.ID, ClientID: "client", SessionID: l.Session.ID}
}

func (d *db) loggedIn(l storage.Login, proof string) storage.Event {
	e := fromSession(storage.EventLogin, l)
	e.ClientID, e.Detail = "client", proof
	return e
}

func (d *db) made(l storage.Login) storage.Event {
	e := fromSession(storage.EventUserCreated, l)
	e.ClientID, e.SessionID = "client", ""
	return e
}

func ended(l storage.Login, detail storage.EventName) storage.Event {
	e := fromSession(storage.EventSessionEnded, l)
	e.Detail = string(detail)
	return e
}

func eventLogin(d *db) {
	a := d.start()
	c := d.completion(a, t0)
	l := storage.Login{User: storage.User{ID: c.UserID}, Session: c.Session}
	d.wantEvents("a new user", func() { d.complete(a, t0, func(given *storage.Completion) { *given = c }) }, d.made(l), d.loggedIn(l, "link"))

	again := d.start(func(b *storage.Attempt) { b.Key = a.Key })
	c = d.completion(again, t0)
	l.Session = c.Session
	d.wantEvents("a known one", func() { d.complete(again, t0, func(given *storage.Completion) { *given = c }) }, d.loggedIn(l, "link"))

	typed := d.start(func(b *storage.Attempt) { b.Key = a.Key })
	_, err := d.ShowCode(d.Context(), typed.ID, t0)
	d.must(err)
	_, err = d.TryCode(d.Context(), typed.ID, typed.Browser, true, t0)
	d.must(err)
	d.wantEvents("by code, in a session there is", func() {
		d.complete(typed, t0, byCode, func(given *storage.Completion) { given.Current = l.Session.ID })
	}, d.loggedIn(l, "code"))
}

func eventLoginInstead(d *db) {
	first, second := d.signIn(), d.signIn()
	a := d.start(func(a *storage.Attempt) { a.Key = second.User.Key })
	c := d.completion(a, t0)
	c.Current = first.Session.ID
	d.wantEvents("another user's session", func() { d.complete(a, t0, func(given *storage.Completion) { *given = c }) },
		ended(first, storage.EventLogin), d.loggedIn(storage.Login{User: second.User, Session: c.Session}, "link"))
}

func eventLoginRefused(d *db) {
	l := d.signIn()
	d.must(d.DisableUser(d.Context(), l.User.ID, t0))
	disabled, unknown := d.start(func(a *storage.Attempt) { a.Key = l.User.Key }), d.start()
	d.wantEvents("refused", func() {
		_, err := d.CompleteAttempt(d.Context(), d.completion(disabled, t0), t0)
		d.want("disabled", err, storage.ErrRefused)
		_, err = d.CompleteAttempt(d.Context(), d.completion(unknown, t0, func(c *storage.Completion) { c.Signup = false }), t0)
		d.want("unknown", err, storage.ErrRefused)
		_, err = d.CompleteAttempt(d.Context(), d.completion(unknown, t0), unknown.ExpiresAt)
		d.want("expired", err, storage.ErrNotFound)
	})
}

func eventLoginRace(d *db) {
	a := d.start()
	cs := make([]storage.Completion, racers)
	for i := range cs {
		cs[i] = d.completion(a, t0)
	}
	won := d.winner(d.race(func(s Store, i int) error {
		_, err := s.CompleteAttempt(d.Context(), cs[i], t0)
		return err
	}), storage.ErrNotFound)
	l := storage.Login{User: storage.User{ID: cs[won].UserID}, Session: cs[won].Session}
	got := d.events()
	for i := range got {
		got[i].Seq = 0
	}
	same(d, "events", got, []storage.Event{d.loggedIn(l, "link"), d.made(l)})
}

func eventNotMe(d *db) {
	l := d.signIn()
	known, unknown := d.start(func(a *storage.Attempt) { a.Key = l.User.Key }), d.start()
	shut := func(id string) func() {
		return func() { d.must(d.CloseAttempt(d.Context(), id, t0)) }
	}
	d.wantEvents("a user's address", shut(known.ID), fromAttempt(storage.EventLoginNotMe, l.User.ID))
	d.wantEvents("again", shut(known.ID))
	d.wantEvents("nobody's", shut(unknown.ID), fromAttempt(storage.EventLoginNotMe, ""))
	d.wantEvents("no attempt", shut("unknown"))
}

func eventBurned(d *db) {
	l := d.signIn()
	for _, c := range []struct {
		name          string
		right, closed bool
		want          []storage.Event
	}{
		{"wrong", false, false, []storage.Event{fromAttempt(storage.EventLoginBurned, l.User.ID)}},
		{"right", true, false, nil},
		{"right, but closed", true, true, []storage.Event{fromAttempt(storage.EventLoginBurned, l.User.ID)}},
	} {
		a := d.start(func(a *storage.Attempt) { a.Key = l.User.Key })
		if c.closed {
			d.must(d.CloseAttempt(d.Context(), a.ID, t0))
		}
		try := func() {
			_, err := d.TryCode(d.Context(), a.ID, a.Browser, c.right, t0)
			d.must(err)
		}
		d.wantEvents(c.name+", but for the last", func() {
			for range storage.MaxTries - 1 {
				try()
			}
		})
		d.wantEvents(c.name, try, c.want...)
		d.wantEvents(c.name+", again", func() {
			_, err := d.TryCode(d.Context(), a.ID, a.Browser, c.right, t0)
			d.want("one too many", err, storage.ErrNotFound)
		})
	}
	a := d.start()
	d.wantEvents("nobody's", func() {
		for range storage.MaxTries {
			_, err := d.TryCode(d.Context(), a.ID, a.Browser, false, t0)
			d.must(err)
		}
	}, fromAttempt(storage.EventLoginBurned, ""))
}

func eventSessionEnded(d *db) {
	l, idle := d.signIn(), d.signIn()
	end := func(l storage.Login, now time.Time) func() { return func() { d.end(l.Session.ID, now) } }
	d.wantEvents("live", end(l, t0), ended(l, ""))
	d.wantEvents("again", end(l, t0))
	d.wantEvents("it had run out", end(idle, idle.Session.IdleAt))
	d.wantEvents("unknown", func() { d.end("unknown", t0) })
}

func eventSignedIn(d *db) {
	l := d.signIn()
	first := fromSession(storage.EventAppSignedIn, l)
	first.ClientID = "client"
	d.wantEvents("the first code", func() { d.signInTo(l, "client", false) }, first)
	d.wantEvents("another", func() { d.signInTo(l, "client", false) })
	d.wantEvents("another, that wants notices", func() { d.signInTo(l, "client", true) })
	second := d.signInAs(l.User)
	byDevice := fromSession(storage.EventAppSignedIn, second)
	byDevice.ClientID, byDevice.Detail = "client", "device"
	redeem := func(n storage.Device) func() {
		return func() {
			_, err := d.RedeemDevice(d.Context(), n.ID, d.newGrant(second), true, t0)
			d.must(err)
		}
	}
	one, other := d.allowed(second), d.allowed(second)
	d.wantEvents("a device of another session", redeem(one), byDevice)
	d.wantEvents("another device", redeem(other))
	d.end(l.Session.ID, t0)
	d.wantEvents("the session has ended", func() {
		_, err := d.RedeemCode(d.Context(), d.newGrant(l, func(g *storage.Grant) { g.ClientID = "other" }), storage.Redeeming{}, t0)
		d.want("redeem", err, storage.ErrNotFound)
	})
}

func eventSignedInRace(d *db) {
	l := d.signIn()
	gs := make([]storage.Grant, racers)
	for i := range gs {
		gs[i] = d.newGrant(l)
	}
	want := fromSession(storage.EventAppSignedIn, l)
	want.ClientID = "client"
	d.wantEvents("32 codes", func() {
		for _, err := range d.race(func(s Store, i int) error {
			_, err := s.RedeemCode(d.Context(), gs[i], storage.Redeeming{}, t0)
			return err
		}) {
			d.must(err)
		}
	}, want)
}

func eventCodeReplayed(d *db) {
	l := d.signIn()
	d.signInTo(l, "client", false)
	used, proven, revoked, fresh := d.redeem(l), d.redeem(l), d.redeem(l), d.newGrant(l)
	d.must(d.RevokeGrant(d.Context(), revoked.ID, revoked.ClientID, t0))
	replay := func(g storage.Grant) func() {
		return func() {
			_, err := d.RedeemCode(d.Context(), g, storage.Redeeming{}, t0)
			d.want("replay", err, storage.ErrConflict)
		}
	}
	burn := func(g storage.Grant) func() {
		return func() { d.must(d.BurnCode(d.Context(), g, t0)) }
	}
	replayed := about(storage.EventCodeReplayed, l)
	d.wantEvents("used", replay(used), replayed)
	d.wantEvents("again", replay(used))
	d.wantEvents("used, with the wrong proof", burn(proven), replayed)
	d.wantEvents("again, with the wrong proof", burn(proven))
	d.wantEvents("what it gave was taken back", replay(revoked))
	d.wantEvents("fresh, with the wrong proof", burn(fresh))
	d.wantEvents("burned", replay(fresh))
	d.end(l.Session.ID, t0)
	d.wantEvents("its session has ended, and its grant with it", replay(used))
}

func eventCodeReplayedRace(d *db) {
	l := d.signIn()
	g := d.newGrant(l)
	first := fromSession(storage.EventAppSignedIn, l)
	first.ClientID = "client"
	d.wantEvents("32 uses of a code", func() {
		d.winner(d.race(func(s Store, i int) error {
			_, err := s.RedeemCode(d.Context(), g, storage.Redeeming{}, t0)
			return err
		}), storage.ErrConflict)
	}, first, about(storage.EventCodeReplayed, l))
}

func eventRefreshReplayed(d *db) {
	l := d.signIn()
	g := d.redeem(l, refreshable)
	use := func(want error, generation int, change ...func(*storage.Refreshing)) func() {
		return func() {
			_, err := d.refresh(d, g, generation, t0, change...)
			d.want("refresh", err, want)
		}
	}
	d.wantEvents("the first", use(nil, 1))
	d.wantEvents("again, at once", use(nil, 1, func(r *storage.Refreshing) { r.Grace = t0.Add(-time.Second) }))
	d.wantEvents("again", use(storage.ErrConflict, 1), about(storage.EventRefreshReplayed, l))
	d.wantEvents("and again", use(storage.ErrNotFound, 1))

	g = d.redeem(l, refreshable)
	use(nil, 1)()
	d.wantEvents("32 at once", func() {
		for _, err := range d.race(func(s Store, i int) error {
			_, err := d.refresh(s, g, 1, t0)
			return err
		}) {
			if !isAny(err, []error{storage.ErrConflict, storage.ErrNotFound}) {
				d.Fatalf("got error %v", err)
			}
		}
	}, about(storage.EventRefreshReplayed, l))
}

func eventGrantRevoked(d *db) {
	l := d.signIn()
	g := d.redeem(l)
	revoke := func(clientID string) func() {
		return func() { d.must(d.RevokeGrant(d.Context(), g.ID, clientID, t0)) }
	}
	d.wantEvents("another client's", revoke("another"))
	d.wantEvents("revoked", revoke("client"), about(storage.EventGrantRevoked, l))
	d.wantEvents("again", revoke("client"))
}

func eventConsent(d *db) {
	user := d.signIn().User.ID
	save := func(at time.Time, scopes ...string) func() {
		return func() {
			d.must(d.SaveConsent(d.Context(), storage.Consent{UserID: user, ClientID: "client", Scopes: scopes, At: at}))
		}
	}
	given := func(at time.Time, detail string) storage.Event {
		return storage.Event{At: at, Name: storage.EventConsentGiven, UserID: user, ClientID: "client", Detail: detail}
	}
	d.wantEvents("the first", save(t0, "openid", "email", "openid"), given(t0, "email openid"))
	d.wantEvents("the same", save(t0, "email"))
	d.wantEvents("more", save(t0, "profile"), given(t0, "profile"))
	d.wantEvents("the same, later", save(t0.Add(tick), "email"), given(t0.Add(tick), "email"))
	d.wantEvents("an unknown user's", func() {
		if err := d.SaveConsent(d.Context(), storage.Consent{UserID: "unknown", ClientID: "client", At: t0}); err == nil {
			d.Error("it was saved")
		}
	})
}

func eventDevice(d *db) {
	l := d.signIn()
	n, denied := d.askDevice(), d.askDevice()
	want := about(storage.EventDeviceAllowed, l)
	want.Agent, want.Network = n.Agent, n.Network
	d.wantEvents("allowed", func() { d.must(d.AllowDevice(d.Context(), n.UserCode, l, t0)) }, want)
	d.wantEvents("no more", func() {
		d.want("again", d.AllowDevice(d.Context(), n.UserCode, l, t0), storage.ErrNotFound)
		d.must(d.DenyDevice(d.Context(), denied.UserCode, t0))
		d.want("denied", d.AllowDevice(d.Context(), denied.UserCode, l, t0), storage.ErrNotFound)
	})
}

func eventUsers(d *db) {
	l := d.signIn()
	second := d.signInAs(l.User)
	gone := d.signInAs(l.User)
	d.end(gone.Session.ID, t0)
	user := func(name storage.EventName, detail string) storage.Event {
		return storage.Event{At: t0, Name: name, UserID: l.User.ID, Detail: detail}
	}
	disable := func() { d.must(d.DisableUser(d.Context(), l.User.ID, t0)) }
	enable := func() { d.must(d.EnableUser(d.Context(), l.User.ID, t0)) }
	groups := func(groups ...string) func() {
		return func() { d.must(d.SetGroups(d.Context(), l.User.ID, groups, t0)) }
	}
	sessions := []storage.Event{ended(l, storage.EventUserDisabled), ended(second, storage.EventUserDisabled)}
	slices.SortFunc(sessions, bySession)
	d.wantEvents("enabled as ever", enable)
	d.wantEvents("disabled", disable, append([]storage.Event{user(storage.EventUserDisabled, "")}, sessions...)...)
	d.wantEvents("disabled again", disable)
	d.wantEvents("enabled", enable, user(storage.EventUserEnabled, ""))
	d.wantEvents("groups", groups("ops", "staff"), user(storage.EventUserGroups, "ops, staff"))
	d.wantEvents("the same groups", groups("ops", "staff"))
	d.wantEvents("no groups", groups(), user(storage.EventUserGroups, ""))

	given, kept := d.newUser("ada@example.com")
	d.wantEvents("added", func() { d.must(d.AddUser(d.Context(), given)) }, storage.Event{At: kept.CreatedAt, Name: storage.EventUserAdded, UserID: given.ID})
	d.wantEvents("nobody", func() {
		d.want("added twice", d.AddUser(d.Context(), given), storage.ErrConflict)
		d.want("disable", d.DisableUser(d.Context(), "unknown", t0), storage.ErrNotFound)
		d.want("enable", d.EnableUser(d.Context(), "unknown", t0), storage.ErrNotFound)
		d.want("groups", d.SetGroups(d.Context(), "unknown", []string{"ops"}, t0), storage.ErrNotFound)
	})
}

func eventAccount(d *db) {
	l := d.signIn()
	second, third := d.signInAs(l.User), d.signInAs(l.User)
	gone, stranger := d.signInAs(l.User), d.signIn()
	d.end(gone.Session.ID, t0)
	endOf := func(id string, want error) func() {
		return func() { d.want("end", d.EndSessionOf(d.Context(), l.User.ID, id, t0), want) }
	}
	d.wantEvents("a session", endOf(second.Session.ID, nil), ended(second, ""))
	d.wantEvents("again", endOf(second.Session.ID, storage.ErrNotFound))
	d.wantEvents("another's", endOf(stranger.Session.ID, storage.ErrNotFound))
	others := func() {
		_, err := d.EndOtherSessions(d.Context(), l.User.ID, l.Session.ID, t0)
		d.must(err)
	}
	d.wantEvents("the others", others, ended(third, ""))
	d.wantEvents("no others", others)

	about := func(name storage.EventName, client string) storage.Event {
		return storage.Event{At: t0, Name: name, UserID: l.User.ID, ClientID: client}
	}
	profile := func() {
		_, err := d.SetProfile(d.Context(), l.User.ID, "Ada", "de", t0)
		d.must(err)
	}
	d.wantEvents("profile", profile, about(storage.EventUserProfile, ""))
	d.wantEvents("the same profile", profile)
	d.wantEvents("nobody's profile", func() {
		_, err := d.SetProfile(d.Context(), "unknown", "Ada", "de", t0)
		d.want("profile", err, storage.ErrNotFound)
	})

	remove := func(client string) func() {
		return func() { d.must(d.RemoveApp(d.Context(), l.User.ID, client, t0)) }
	}
	d.must(d.SaveConsent(d.Context(), storage.Consent{UserID: l.User.ID, ClientID: "a", At: t0}))
	d.signInTo(l, "b", true, offline)
	d.signInTo(l, "b", true, offline)
	d.wantEvents("what was allowed", remove("a"), about(storage.EventAppRemoved, "a"))
	d.wantEvents("what has grants", remove("b"), about(storage.EventAppRemoved, "b"))
	d.wantEvents("again", remove("b"))
	again := fromSession(storage.EventAppSignedIn, l)
	again.ClientID = "b"
	d.wantEvents("signed in to anew", func() { d.signInTo(l, "b", true) }, again)
}

func eventAddress(d *db) {
	l, stranger := d.signIn(), d.signIn()
	want := fromSession(storage.EventUserAddressChanged, l)
	change := func(a storage.Attempt, want error) func() {
		return func() {
			_, err := d.ChangeAddress(d.Context(), storage.AddressChange{AttemptID: a.ID, SessionID: l.Session.ID, ProvenSince: t0}, t0)
			d.want("change", err, want)
		}
	}
	address := func(a *storage.Attempt) { a.Purpose, a.UserID = storage.PurposeAddress, l.User.ID }
	a, taken := d.start(address), d.start(address, func(a *storage.Attempt) { a.Key = stranger.User.Key })
	d.wantEvents("changed", change(a, nil), want)
	d.wantEvents("again", change(a, storage.ErrNotFound))
	d.wantEvents("another user's", change(taken, storage.ErrConflict))
}

func eventMuted(d *db) {
	l := d.signIn()
	known, unknown := d.start(func(a *storage.Attempt) { a.Key = l.User.Key }), d.start()
	mute := func(id string, until time.Duration) func() {
		return func() { d.must(d.Mute(d.Context(), id, t0, t0.Add(until))) }
	}
	d.wantEvents("a user's address", mute(known.ID, time.Hour), fromAttempt(storage.EventMailMuted, l.User.ID))
	d.wantEvents("again", mute(known.ID, time.Hour))
	d.wantEvents("longer", mute(known.ID, time.Hour+tick), fromAttempt(storage.EventMailMuted, l.User.ID))
	d.wantEvents("nobody's", mute(unknown.ID, time.Hour), fromAttempt(storage.EventMailMuted, ""))
	d.wantEvents("no attempt", func() { d.want("mute", d.Mute(d.Context(), "unknown", t0, t0.Add(day)), storage.ErrNotFound) })
}

func eventDeleted(d *db) {
	l, gone := d.signIn(), d.signIn()
	d.end(gone.Session.ID, t0)
	remove := func(id string, want error) func() {
		return func() { d.want("delete", d.DeleteUser(d.Context(), id, t0), want) }
	}
	deleted := func(l storage.Login) storage.Event {
		return storage.Event{At: t0, Name: storage.EventUserDeleted, UserID: l.User.ID}
	}
	d.wantEvents("signed in", remove(l.User.ID, nil), ended(l, storage.EventUserDeleted), deleted(l))
	d.wantEvents("signed out", remove(gone.User.ID, nil), deleted(gone))
	d.wantEvents("again", remove(l.User.ID, storage.ErrNotFound))
	events, err := d.Events(d.Context(), storage.EventFilter{UserID: l.User.ID})
	d.must(err)
	same(d, "events of the deleted user", len(events), 4)
}

func eventClients(d *db) {
	c := storage.Client{ID: "app", Name: "App", CreatedAt: t0, UpdatedAt: t0.Add(time.Hour)}
	client := func(at time.Time, name storage.EventName) storage.Event {
		return storage.Event{At: at, Name: name, ClientID: "app"}
	}
	d.wantEvents("added", func() { d.must(d.AddClient(d.Context(), c)) }, client(t0, storage.EventClientAdded))
	d.wantEvents("changed", func() { d.must(d.SaveClient(d.Context(), c, c)) }, client(c.UpdatedAt, storage.EventClientChanged))
	d.wantEvents("added again", func() { d.want("add", d.AddClient(d.Context(), c), storage.ErrConflict) })
	d.wantEvents("removed", func() { d.must(d.RemoveClient(d.Context(), "app", t0)) }, client(t0, storage.EventClientRemoved))
	d.wantEvents("unknown", func() {
		d.want("change", d.SaveClient(d.Context(), c, c), storage.ErrNotFound)
		d.want("remove", d.RemoveClient(d.Context(), "app", t0), storage.ErrNotFound)
	})
}

func eventKeys(d *db) {
	key := func(name storage.EventName, detail string) storage.Event {
		return storage.Event{At: t0, Name: name, Detail: detail}
	}
	d.wantEvents("added", func() { d.addKey("RS256", 1, 0); d.addKey("RS256", 2, 0) },
		key(storage.EventKeyAdded, "RS256 RS2561"), key(storage.EventKeyAdded, "RS256 RS2562"))
	d.wantEvents("another replica was first", func() {
		err := d.AddSigningKey(d.Context(), storage.SigningKey{ID: "other", Algorithm: "RS256", Generation: 2, Sealed: []byte("sealed"), CreatedAt: t0, SignsAt: t0})
		d.want("add", err, storage.ErrConflict)
	})
	remove := func() { d.must(d.RemoveSigningKeys(d.Context(), t0, t0)) }
	d.wantEvents("gone", remove, key(storage.EventKeyRetired, "RS256 RS2561"))
	d.wantEvents("nothing to remove", remove)
}

func eventActor(d *db) {
	operator := d.by(d.Store, "operator")
	want := storage.Event{At: t0, Name: storage.EventClientAdded, Actor: "operator", ClientID: "app"}
	d.wantEvents("by the operator", func() {
		d.must(operator.AddClient(d.Context(), storage.Client{ID: "app", CreatedAt: t0, UpdatedAt: t0}))
	}, want)
	want.Name, want.Actor = storage.EventClientRemoved, ""
	d.wantEvents("by nobody else", func() { d.must(d.RemoveClient(d.Context(), "app", t0)) }, want)

	// Every event there is: each statement has a place of its own for the actor.
	l, a, typed := d.signIn(), d.start(), d.start()
	n, session := d.allowed(l), d.signIn()
	g, replayed, revoked := d.newGrant(l), d.redeem(l, refreshable), d.redeem(l)
	burned := d.redeem(l)
	_, err := d.refresh(d, replayed, 1, t0)
	d.must(err)
	asked, used := d.askDevice(), d.newGrant(session)
	added, _ := d.newUser("ada@example.com")
	d.addKey("RS256", 1, 0)
	d.addKey("RS256", 2, 0)
	for range storage.MaxTries - 1 {
		_, err := d.TryCode(d.Context(), typed.ID, typed.Browser, false, t0)
		d.must(err)
	}
	one := d.signIn()
	two := d.signInAs(one.User)
	d.signInAs(one.User)
	address := d.start(func(a *storage.Attempt) { a.Purpose, a.UserID = storage.PurposeAddress, one.User.ID })
	last := d.events()[0].Seq
	ignore := func(_ any, err error) error { return err }
	for what, err := range map[string]error{
		"CompleteAttempt":    ignore(operator.CompleteAttempt(d.Context(), d.completion(d.start(), t0), t0)),
		"CloseAttempt":       operator.CloseAttempt(d.Context(), a.ID, t0),
		"TryCode":            ignore(operator.TryCode(d.Context(), typed.ID, typed.Browser, false, t0)),
		"RedeemCode":         ignore(operator.RedeemCode(d.Context(), used, storage.Redeeming{}, t0)),
		"RedeemDevice":       ignore(operator.RedeemDevice(d.Context(), n.ID, d.newGrant(l), false, t0)),
		"SaveConsent":        operator.SaveConsent(d.Context(), storage.Consent{UserID: l.User.ID, ClientID: "client", At: t0}),
		"AllowDevice":        operator.AllowDevice(d.Context(), asked.UserCode, l, t0),
		"RevokeGrant":        operator.RevokeGrant(d.Context(), revoked.ID, "client", t0),
		"BurnCode":           operator.BurnCode(d.Context(), burned, t0),
		"AddUser":            operator.AddUser(d.Context(), added),
		"SetGroups":          operator.SetGroups(d.Context(), added.ID, nil, t0),
		"EnableUser":         operator.EnableUser(d.Context(), added.ID, t0),
		"AddClient":          operator.AddClient(d.Context(), storage.Client{ID: "app", CreatedAt: t0, UpdatedAt: t0}),
		"SaveClient":         operator.SaveClient(d.Context(), storage.Client{ID: "app", CreatedAt: t0, UpdatedAt: t0}, storage.Client{UpdatedAt: t0}),
		"AddSigningKey":      operator.AddSigningKey(d.Context(), storage.SigningKey{ID: "k", Algorithm: "ES256", Generation: 1, Sealed: []byte("k"), CreatedAt: t0, SignsAt: t0}),
		"RemoveSigningKeys":  operator.RemoveSigningKeys(d.Context(), t0, t0),
		"RedeemCode, unused": ignore(operator.RedeemCode(d.Context(), g, storage.Redeeming{}, t0)),
	} {
		if err != nil {
			d.Fatalf("%s: %v", what, err)
		}
	}
	_, err = operator.RedeemCode(d.Context(), used, storage.Redeeming{}, t0)
	d.want("replay", err, storage.ErrConflict)
	_, _, err = operator.Refresh(d.Context(), storage.Refreshing{ID: replayed.ID, ClientID: "client", Generation: 1, AnyKey: true}, t0)
	d.want("replay", err, storage.ErrConflict)
	d.must(operator.RemoveClient(d.Context(), "app", t0))
	_, err = operator.EndSession(d.Context(), session.Session.ID, t0)
	d.must(err)
	d.must(operator.DisableUser(d.Context(), l.User.ID, t0))
	d.must(operator.EndSessionOf(d.Context(), one.User.ID, two.Session.ID, t0))
	_, err = operator.EndOtherSessions(d.Context(), one.User.ID, one.Session.ID, t0)
	d.must(err)
	_, err = operator.SetProfile(d.Context(), one.User.ID, "Ada", "de", t0)
	d.must(err)
	d.must(operator.SaveConsent(d.Context(), storage.Consent{UserID: one.User.ID, ClientID: "client", At: t0}))
	d.must(operator.RemoveApp(d.Context(), one.User.ID, "client", t0))
	d.must(operator.Mute(d.Context(), address.ID, t0, t0.Add(time.Hour)))
	_, err = operator.ChangeAddress(d.Context(), storage.AddressChange{AttemptID: address.ID, SessionID: one.Session.ID, ProvenSince: t0}, t0)
	d.must(err)
	d.must(operator.DeleteUser(d.Context(), one.User.ID, t0))
	names := map[storage.EventName]bool{}
	for _, e := range d.events() {
		if e.Seq <= last {
			break
		}
		names[e.Name] = true
		same(d, "actor of "+string(e.Name), e.Actor, "operator")
	}
	same(d, "names", len(names), len(storage.EventNames()))
}

func eventFilter(d *db) {
	user, other := d.signIn().User.ID, d.signIn().User.ID
	consent := func(userID, clientID string, at time.Time) {
		d.must(d.SaveConsent(d.Context(), storage.Consent{UserID: userID, ClientID: clientID, At: at}))
	}
	consent(user, "a", t0.Add(time.Hour))
	consent(other, "a", t0.Add(2*time.Hour))
	consent(user, "b", t0.Add(3*time.Hour))
	given := storage.EventConsentGiven
	for _, c := range []struct {
		name   string
		filter storage.EventFilter
		want   []string
	}{
		{"a name", storage.EventFilter{Name: given}, []string{user + " b", other + " a", user + " a"}},
		{"a user", storage.EventFilter{Name: given, UserID: user}, []string{user + " b", user + " a"}},
		{"a client", storage.EventFilter{Name: given, ClientID: "a"}, []string{other + " a", user + " a"}},
		{"both", storage.EventFilter{UserID: user, ClientID: "a"}, []string{user + " a"}},
		{"since", storage.EventFilter{Since: t0.Add(2 * time.Hour)}, []string{user + " b", other + " a"}},
		{"a moment later", storage.EventFilter{Since: t0.Add(2*time.Hour + tick)}, []string{user + " b"}},
		{"until", storage.EventFilter{Name: given, Until: t0.Add(2 * time.Hour)}, []string{user + " a"}},
		{"a moment longer", storage.EventFilter{Name: given, Until: t0.Add(2*time.Hour + tick)}, []string{other + " a", user + " a"}},
		{"between", storage.EventFilter{Since: t0.Add(time.Hour + tick), Until: t0.Add(3 * time.Hour)}, []string{other + " a"}},
		{"nothing", storage.EventFilter{UserID: "unknown"}, []string{}},
	} {
		events, err := d.Events(d.Context(), c.filter)
		d.must(err)
		got := []string{}
		for _, e := range events {
			got = append(got, e.UserID+" "+e.ClientID)
		}
		same(d, c.name, got, c.want)
	}
}

func eventPages(d *db) {
	l := d.signIn()
	for i := range 120 {
		d.must(d.SetGroups(d.Context(), l.User.ID, []string{d.id("group")}, t0.Add(time.Duration(i))))
	}
	all := d.events()
	same(d, "events", len(all), 122)
	for _, userID := range []string{"", l.User.ID} {
		var read []storage.Event
		f := storage.EventFilter{UserID: userID, Limit: 50}
		for {
			page, err := d.Events(d.Context(), f)
			d.must(err)
			if len(page) == 0 {
				break
			}
			read = append(read, page...)
			f.Before = page[len(page)-1].Seq
		}
		same(d, "page by page", read, all)
	}
	first, err := d.Events(d.Context(), storage.EventFilter{})
	d.must(err)
	same(d, "100 without a limit", first, all[:100])
}

func eventSweep(d *db) {
	user := d.signIn().User.ID
	for i := range 5 {
		d.must(d.SaveConsent(d.Context(), storage.Consent{UserID: user, ClientID: "client", At: t0.Add(time.Duration(i+1) * time.Hour)}))
	}
	last := d.events()[0].Seq
	for _, c := range []struct {
		before      time.Time
		limit, want int
	}{
		{t0, 10, 0}, {t0.Add(tick), 10, 2}, {t0.Add(9 * time.Hour), 0, 0}, {t0.Add(5 * time.Hour), 3, 3}, {t0.Add(5 * time.Hour), 3, 1}, {t0.Add(5 * time.Hour), 3, 0},
	} {
		n, err := d.SweepEvents(d.Context(), c.before, c.limit)
		d.must(err)
		same(d, "swept before "+c.before.String(), n, c.want)
	}
	left := d.events()
	same(d, "left", len(left), 1)
	same(d, "the newest", left[0].Seq, last)
	_, err := d.SweepEvents(d.Context(), t0.Add(day), 10)
	d.must(err)
	d.signIn()
	if again := d.events(); len(again) != 2 || again[1].Seq <= last {
		d.Errorf("got %+v, want two events after %d", again, last)
	}
	_, err = d.Sweep(d.Context(), t0.Add(10000*day), 1000)
	d.must(err)
	same(d, "after a sweep of the rest", len(d.events()), 2)
}
