package storagetest

import (
	"errors"
	"slices"
	"time"

	"github.com/sealpost/sealpost/storage"
)

var accountTests = []test{
	{name: "sessions of a user are the live ones, last seen first", run: sessionsOfUser},
	{name: "live sessions are listed page by page, by user and by client", run: sessionsListed},
	{name: "users with apps are listed page by page, by client", run: usersWithApps},
	{name: "a session ends for its user alone, with grants and notices", run: endSessionOfUser},
	{name: "all other sessions end, with grants and notices", run: endOtherSessions},
	{name: "apps are what was allowed and what holds a live grant", run: appsOfUser},
	{name: "a removed app loses consent, grants and its sign-in", run: removeApp},
	{name: "an app that is signed in to again is told of the end again", run: removedAppAgain},
	{name: "removing an app leaves others alone", run: removeAppAlone},
	{name: "a profile moves UpdatedAt when it changes", run: setProfile},
	{name: "an address changes and the subject stays", run: changeAddress},
	{name: "an address changes by code only when it was shown", run: changeAddressByCode},
	{name: "an address is not changed by what is not live", run: changeAddressDead},
	{name: "an address of another user is a conflict and writes nothing", run: changeAddressTaken},
	{name: "an attempt of another purpose changes no address, and one for an address signs nobody in", run: changeAddressPurpose},
	{name: "32 callers change an address once", run: changeAddressRace},
	{name: "of 32 users who want one address one gets it", run: changeAddressContest},
	{name: "a deleted user is gone with all that was kept", run: deleteUser},
	{name: "a user deleted while they sign in leaves nothing behind", run: deleteUserRace},
	{name: "a mute holds until it ends, for browsers that are not known", run: muteHolds},
	{name: "a login and a new address end the mute", run: muteEnds},
	{name: "a mail that failed marks its attempt", run: undelivered},
	{name: "bounces are counted until a mail is sent", run: bounces},
}

// signedInAgain is another session of the user, seen at.
func (d *db) signedInAgain(u storage.User, seen time.Time) storage.Login {
	d.Helper()
	return d.complete(d.start(func(a *storage.Attempt) { a.Key, a.Email = u.Key, u.Email }), seen)
}

func (d *db) wantSessionsOf(what, userID string, now time.Time, ids ...string) {
	d.Helper()
	all, err := d.SessionsOf(d.Context(), userID, now)
	d.must(err)
	got := []string{}
	for _, s := range all {
		got = append(got, s.ID)
	}
	same(d, what, got, append([]string{}, ids...))
}

func sessionsOfUser(d *db) {
	first := d.signIn()
	second := d.signedInAgain(first.User, t0.Add(time.Minute))
	d.signIn() // somebody else
	d.wantSessionsOf("two", first.User.ID, t0.Add(time.Minute), second.Session.ID, first.Session.ID)
	all, err := d.SessionsOf(d.Context(), first.User.ID, t0.Add(time.Minute))
	d.must(err)
	same(d, "a session", all[1], first.Session)
	d.wantSessionsOf("the first was not seen for an hour", first.User.ID, t0.Add(time.Hour), second.Session.ID)
	d.end(second.Session.ID, t0.Add(time.Hour))
	d.wantSessionsOf("the other has ended", first.User.ID, t0.Add(time.Hour))
	d.wantSessionsOf("nobody", "nobody", t0)
}

// sessions are the ids of a filter, read in pages of two.
func (d *db) sessions(f storage.SessionFilter, now time.Time) (ids []string) {
	d.Helper()
	for f.Limit = 2; ; {
		page, err := d.Sessions(d.Context(), f, now)
		d.must(err)
		for _, l := range page {
			same(d, "user of a session", l.User.ID, l.Session.UserID)
			ids = append(ids, l.Session.ID)
		}
		if len(page) < f.Limit {
			return slices.Sorted(slices.Values(ids))
		}
		f.After = page[len(page)-1].Session.ID
	}
}

func sessionsListed(d *db) {
	first := d.signIn()
	second := d.signedInAgain(first.User, t0.Add(time.Minute))
	third, other := d.signIn(), d.signIn()
	ids := func(all ...storage.Login) (ids []string) {
		for _, l := range all {
			ids = append(ids, l.Session.ID)
		}
		return slices.Sorted(slices.Values(ids))
	}
	d.signInTo(first, "a", true)
	d.signInTo(first, "b", false)
	d.signInTo(third, "b", false)
	of := storage.SessionFilter{UserID: first.User.ID}
	same(d, "all", d.sessions(storage.SessionFilter{}, t0), ids(first, second, third, other))
	same(d, "of a user", d.sessions(of, t0), ids(first, second))
	same(d, "of a client", d.sessions(storage.SessionFilter{ClientID: "b"}, t0), ids(first, third))
	same(d, "of both", d.sessions(storage.SessionFilter{UserID: third.User.ID, ClientID: "a"}, t0), nil)
	same(d, "of both", d.sessions(storage.SessionFilter{UserID: third.User.ID, ClientID: "b"}, t0), ids(third))
	got, err := d.Sessions(d.Context(), storage.SessionFilter{UserID: other.User.ID}, t0)
	d.must(err)
	same(d, "a login", got, []storage.Login{other})

	for session, want := range map[string][]string{first.Session.ID: {"a", "b"}, second.Session.ID: {}, "unknown": {}} {
		clients, err := d.ClientsOf(d.Context(), session)
		d.must(err)
		same(d, "clients", append([]string{}, clients...), want)
	}
	same(d, "after an hour", d.sessions(of, t0.Add(time.Hour)), ids(second))
	d.end(second.Session.ID, t0)
	same(d, "ended", d.sessions(of, t0), ids(first))
	d.must(d.DisableUser(d.Context(), first.User.ID, t0))
	same(d, "disabled", d.sessions(of, t0), nil)
}

func usersWithApps(d *db) {
	granted, consented, offline, both := d.signIn(), d.signIn(), d.signIn(), d.signIn()
	d.signIn() // has to do with none
	d.signInTo(granted, "a", true)
	d.signInTo(offline, "a", true, func(g *storage.Grant) { g.Offline = true })
	d.signInTo(both, "b", true)
	for _, l := range []storage.Login{consented, both} {
		d.must(d.SaveConsent(d.Context(), storage.Consent{UserID: l.User.ID, ClientID: "a", Scopes: []string{"openid"}, At: t0}))
	}
	wants := func(what, client string, want ...storage.Login) {
		d.Helper()
		var got, ids []string
		for after := ""; ; {
			page, err := d.UsersWithApps(d.Context(), client, after, 2, t0)
			d.must(err)
			for _, u := range page {
				got, after = append(got, u.ID), u.ID
			}
			if len(page) < 2 {
				break
			}
		}
		for _, l := range want {
			ids = append(ids, l.User.ID)
		}
		same(d, what, slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(ids)))
	}
	wants("any", "", granted, consented, offline, both)
	wants("one", "a", granted, consented, offline, both)
	wants("the other", "b", both)
	wants("none", "c")
	d.end(granted.Session.ID, t0)
	d.end(offline.Session.ID, t0)
	wants("after the session", "a", consented, offline, both)
	d.must(d.RemoveApp(d.Context(), both.User.ID, "a", t0))
	wants("taken back", "a", consented, offline)
}

func endSessionOfUser(d *db) {
	mine, other := d.signIn(), d.signIn()
	g := d.signInTo(mine, "client", true)
	offline := d.signInTo(mine, "client", true, func(g *storage.Grant) { g.Offline = true })
	d.want("another's session", d.EndSessionOf(d.Context(), other.User.ID, mine.Session.ID, t0), storage.ErrNotFound)
	d.wantSession("it goes on", mine.Session.ID, t0, nil)
	now := t0.Add(time.Minute)
	d.must(d.EndSessionOf(d.Context(), mine.User.ID, mine.Session.ID, now))
	d.wantSession("ended", mine.Session.ID, now, storage.ErrNotFound)
	d.wantGrant("its grant", g.ID, now, storage.ErrNotFound)
	d.wantGrant("an offline grant", offline.ID, now, nil)
	d.wantSession("others", other.Session.ID, now, nil)
	d.wantNotices("its notice", 10, now, mine.Session.ID+" client")
	d.want("again", d.EndSessionOf(d.Context(), mine.User.ID, mine.Session.ID, now), storage.ErrNotFound)
}

func endOtherSessions(d *db) {
	kept := d.signIn()
	one, two := d.signedInAgain(kept.User, t0), d.signedInAgain(kept.User, t0)
	stranger := d.signIn()
	grants := map[string]storage.Grant{}
	for _, l := range []storage.Login{kept, one, two, stranger} {
		grants[l.Session.ID] = d.signInTo(l, "client", true)
	}
	now := t0.Add(time.Minute)
	n, err := d.EndOtherSessions(d.Context(), kept.User.ID, kept.Session.ID, now)
	d.must(err)
	same(d, "ended", n, 2)
	for _, l := range []storage.Login{one, two} {
		d.wantSession("another", l.Session.ID, now, storage.ErrNotFound)
		d.wantGrant("its grant", grants[l.Session.ID].ID, now, storage.ErrNotFound)
	}
	for _, l := range []storage.Login{kept, stranger} {
		d.wantSession("kept", l.Session.ID, now, nil)
		d.wantGrant("its grant", grants[l.Session.ID].ID, now, nil)
	}
	same(d, "notices", len(d.claimNotices(10, now)), 2)
	n, err = d.EndOtherSessions(d.Context(), kept.User.ID, kept.Session.ID, now)
	d.must(err)
	same(d, "ended again", n, 0)
	n, err = d.EndOtherSessions(d.Context(), kept.User.ID, "", now)
	d.must(err)
	same(d, "ended all", n, 1)
	d.wantSession("the last", kept.Session.ID, now, storage.ErrNotFound)
}

func (d *db) wantApps(what, userID string, now time.Time, want ...storage.App) {
	d.Helper()
	got, err := d.Apps(d.Context(), userID, now)
	d.must(err)
	if len(got)+len(want) > 0 {
		same(d, what, got, want)
	}
}

func appsOfUser(d *db) {
	l := d.signIn()
	d.wantApps("none", l.User.ID, t0)
	consented := t0.Add(-day)
	d.must(d.SaveConsent(d.Context(), storage.Consent{UserID: l.User.ID, ClientID: "b", Scopes: []string{"openid", "email"}, At: consented}))
	d.redeem(l, func(g *storage.Grant) { g.ClientID, g.Scopes = "a", []string{"openid"} })
	d.redeem(l, func(g *storage.Grant) {
		g.ClientID, g.Scopes, g.Offline, g.CreatedAt = "b", []string{"offline_access", "openid"}, true, t0.Add(time.Second)
	})
	revoked := d.redeem(l, func(g *storage.Grant) { g.ClientID = "c" })
	d.must(d.RevokeGrant(d.Context(), revoked.ID, "c", t0))
	d.signInTo(d.signIn(), "d", true) // somebody else's
	b := storage.App{ClientID: "b", Scopes: []string{"email", "offline_access", "openid"}, ConsentAt: consented, GrantedAt: t0.Add(time.Second), Offline: true}
	d.wantApps("two", l.User.ID, t0, storage.App{ClientID: "a", Scopes: []string{"openid"}, GrantedAt: t0}, b)
	d.end(l.Session.ID, t0)
	d.wantApps("after the session", l.User.ID, t0, b)
}

func removeApp(d *db) {
	l := d.signIn()
	g := d.signInTo(l, "client", true)
	offline := d.signInTo(l, "client", true, func(g *storage.Grant) { g.Offline = true })
	d.must(d.SaveConsent(d.Context(), storage.Consent{UserID: l.User.ID, ClientID: "client", Scopes: []string{"openid"}, At: t0}))
	device := d.allowed(l)
	now := t0.Add(time.Minute)
	d.must(d.RemoveApp(d.Context(), l.User.ID, "client", now))
	_, err := d.RedeemDevice(d.Context(), device.ID, d.newGrant(l), true, now)
	d.want("a device that comes late", err, storage.ErrNotFound)
	d.wantApps("none is left", l.User.ID, now)
	_, err = d.Consent(d.Context(), l.User.ID, "client")
	d.want("consent", err, storage.ErrNotFound)
	d.wantGrant("grant", g.ID, now, storage.ErrNotFound)
	d.wantGrant("offline grant", offline.ID, now, storage.ErrNotFound)
	d.wantSession("the session goes on", l.Session.ID, now, nil)
	d.wantNotices("it is told", 10, now, l.Session.ID+" client")
	same(d, "clients of the session", len(d.end(l.Session.ID, now.Add(time.Minute))), 0)
	d.must(d.RemoveApp(d.Context(), l.User.ID, "client", now)) // nothing is left to take back
}

func removedAppAgain(d *db) {
	l := d.signIn()
	d.signInTo(l, "client", true)
	now := t0.Add(time.Minute)
	d.must(d.RemoveApp(d.Context(), l.User.ID, "client", now))
	notice := d.claimNotices(10, now)[0]
	d.finishNotice(notice, storage.NoticeDelivered, now)
	d.signInTo(l, "client", true)
	later := now.Add(time.Minute)
	same(d, "clients of the session", d.end(l.Session.ID, later), []string{"client"})
	d.wantNotices("it is told again", 10, later, l.Session.ID+" client")
}

func removeAppAlone(d *db) {
	l, other := d.signIn(), d.signIn()
	kept := d.signInTo(l, "kept", true)
	theirs := d.signInTo(other, "client", true)
	d.must(d.SaveConsent(d.Context(), storage.Consent{UserID: other.User.ID, ClientID: "client", Scopes: []string{"openid"}, At: t0}))
	device, theirDevice := d.allowed(l, func(n *storage.Device) { n.ClientID = "kept" }), d.allowed(other)
	d.must(d.RemoveApp(d.Context(), l.User.ID, "client", t0))
	_, err := d.RedeemDevice(d.Context(), device.ID, d.newGrant(l, func(g *storage.Grant) { g.ClientID = "kept" }), true, t0)
	d.must(err)
	_, err = d.RedeemDevice(d.Context(), theirDevice.ID, d.newGrant(other), true, t0)
	d.must(err)
	d.wantGrant("another app", kept.ID, t0, nil)
	d.wantGrant("another user", theirs.ID, t0, nil)
	d.wantConsent(other.User.ID, "client", t0, "openid")
	d.wantNotices("nobody is told", 10, t0)
}

func setProfile(d *db) {
	l := d.signIn()
	now := t0.Add(time.Minute)
	u, err := d.SetProfile(d.Context(), l.User.ID, "Ada", "fr", now)
	d.must(err)
	want := l.User
	want.Name, want.Locale, want.UpdatedAt = "Ada", "fr", now
	same(d, "changed", u, want)
	u, err = d.SetProfile(d.Context(), l.User.ID, "Ada", "fr", now.Add(time.Minute))
	d.must(err)
	same(d, "the same again", u, want)
	_, err = d.SetProfile(d.Context(), "nobody", "Ada", "fr", now)
	d.want("nobody", err, storage.ErrNotFound)
}

// change starts an attempt that gives l's user a new address.
func (d *db) change(l storage.Login, key string) (storage.Attempt, storage.AddressChange) {
	d.Helper()
	a := d.start(func(a *storage.Attempt) {
		a.Purpose, a.UserID, a.Key, a.Email = storage.PurposeAddress, l.User.ID, key, key
	})
	return a, storage.AddressChange{AttemptID: a.ID, SessionID: l.Session.ID, ProvenSince: l.Session.AuthTime}
}

func changeAddress(d *db) {
	l := d.signIn()
	a, c := d.change(l, "new@example.com")
	now := t0.Add(time.Minute)
	u, err := d.ChangeAddress(d.Context(), c, now)
	d.must(err)
	want := l.User
	want.Key, want.Email, want.UpdatedAt = "new@example.com", "new@example.com", now
	same(d, "user", u, want)
	got, err := d.User(d.Context(), "new@example.com")
	d.must(err)
	same(d, "by the new address", got, want)
	_, err = d.User(d.Context(), l.User.Key)
	d.want("by the old one", err, storage.ErrNotFound)
	used := d.wantState("attempt", a.ID, now, storage.StateUsed)
	same(d, "its session", used.SessionID, l.Session.ID)
	d.wantSession("the session goes on", l.Session.ID, now, nil)
	_, err = d.ChangeAddress(d.Context(), c, now)
	d.want("again", err, storage.ErrNotFound)
	old := d.complete(d.start(func(a *storage.Attempt) { a.Key = l.User.Key }), now)
	if old.User.ID == l.User.ID {
		d.Error("the old address still finds the user")
	}
}

func changeAddressByCode(d *db) {
	l := d.signIn()
	a, c := d.change(l, "new@example.com")
	c.ByCode = true
	try := func(what string, target error) {
		d.Helper()
		_, err := d.ChangeAddress(d.Context(), c, t0)
		d.want(what, err, target)
	}
	try("no code was shown", storage.ErrNotFound)
	_, err := d.ShowCode(d.Context(), a.ID, t0)
	d.must(err)
	try("none was typed", storage.ErrNotFound)
	_, err = d.TryCode(d.Context(), a.ID, a.Browser, false, t0)
	d.must(err)
	try("typed", nil)
}

func changeAddressDead(d *db) {
	l := d.signIn()
	try := func(what string, now time.Time, spoil func(a storage.Attempt, c *storage.AddressChange)) {
		d.Helper()
		a, c := d.change(l, d.id("new")+"@example.com")
		spoil(a, &c)
		_, err := d.ChangeAddress(d.Context(), c, now)
		d.want(what, err, storage.ErrNotFound)
		u, err := d.User(d.Context(), l.User.Key)
		d.must(err)
		same(d, what, u, l.User)
	}
	as := func(f func(c *storage.AddressChange)) func(storage.Attempt, *storage.AddressChange) {
		return func(_ storage.Attempt, c *storage.AddressChange) { f(c) }
	}
	try("expired", t0.Add(15*time.Minute), as(func(*storage.AddressChange) {}))
	try("unknown", t0, as(func(c *storage.AddressChange) { c.AttemptID = "unknown" }))
	try("cancelled", t0, func(a storage.Attempt, _ *storage.AddressChange) {
		d.must(d.CancelAttempts(d.Context(), a.Txn, a.Browser, t0))
	})
	try("no session", t0, as(func(c *storage.AddressChange) { c.SessionID = "" }))
	try("another user's session", t0, as(func(c *storage.AddressChange) { c.SessionID = d.signIn().Session.ID }))
	try("proven too long ago", t0, as(func(c *storage.AddressChange) { c.ProvenSince = l.Session.AuthTime.Add(tick) }))
	try("closed, by code", t0, func(a storage.Attempt, c *storage.AddressChange) {
		_, err := d.ShowCode(d.Context(), a.ID, t0)
		d.must(err)
		_, err = d.TryCode(d.Context(), a.ID, a.Browser, false, t0)
		d.must(err)
		d.must(d.CloseAttempt(d.Context(), a.ID, t0))
		c.ByCode = true
	})
	d.end(l.Session.ID, t0)
	try("the session has ended", t0, as(func(*storage.AddressChange) {}))
}

func changeAddressTaken(d *db) {
	l, other := d.signIn(), d.signIn()
	a, c := d.change(l, other.User.Key)
	_, err := d.ChangeAddress(d.Context(), c, t0)
	d.want("taken", err, storage.ErrConflict)
	d.wantState("attempt", a.ID, t0, storage.StateLive)
	for _, want := range []storage.User{l.User, other.User} {
		u, err := d.User(d.Context(), want.Key)
		d.must(err)
		same(d, "user", u, want)
	}
}

func changeAddressPurpose(d *db) {
	l := d.signIn()
	for _, purpose := range []storage.Purpose{storage.PurposeLogin, storage.PurposeAccount} {
		a := d.start(func(a *storage.Attempt) { a.UserID, a.Purpose = l.User.ID, purpose })
		same(d, "purpose", d.wantState("attempt", a.ID, t0, storage.StateLive).Purpose, purpose)
		_, err := d.ChangeAddress(d.Context(), storage.AddressChange{AttemptID: a.ID, SessionID: l.Session.ID}, t0)
		d.want("purpose "+string(purpose), err, storage.ErrNotFound)
	}
	a, _ := d.change(l, "new@example.com")
	_, err := d.CompleteAttempt(d.Context(), d.completion(a, t0), t0)
	d.want("signing in", err, storage.ErrNotFound)
	d.wantState("attempt", a.ID, t0, storage.StateLive)
}

func changeAddressRace(d *db) {
	l := d.signIn()
	_, c := d.change(l, "new@example.com")
	d.winner(d.race(func(s Store, _ int) error {
		_, err := s.ChangeAddress(d.Context(), c, t0)
		return err
	}), storage.ErrNotFound)
}

func changeAddressContest(d *db) {
	var changes [racers]storage.AddressChange
	for i := range changes {
		_, changes[i] = d.change(d.signIn(), "wanted@example.com")
	}
	d.winner(d.race(func(s Store, i int) error {
		_, err := s.ChangeAddress(d.Context(), changes[i], t0)
		return err
	}), storage.ErrConflict)
}

func deleteUser(d *db) {
	l, other := d.signIn(), d.signIn()
	g := d.signInTo(l, "client", true)
	offline := d.signInTo(l, "client", true, func(g *storage.Grant) { g.Offline = true })
	d.must(d.SaveConsent(d.Context(), storage.Consent{UserID: l.User.ID, ClientID: "client", Scopes: []string{"openid"}, At: t0}))
	ask := d.start(func(a *storage.Attempt) { a.Key = l.User.Key })
	change, _ := d.change(l, "new@example.com")
	now := t0.Add(time.Minute)
	d.must(d.DeleteUser(d.Context(), l.User.ID, now))
	_, err := d.User(d.Context(), l.User.Key)
	d.want("user", err, storage.ErrNotFound)
	d.wantSession("session", l.Session.ID, now, storage.ErrNotFound)
	d.wantGrant("grant", g.ID, now, storage.ErrNotFound)
	d.wantGrant("offline grant", offline.ID, now, storage.ErrNotFound)
	d.wantApps("apps", l.User.ID, now)
	for what, id := range map[string]string{"a link to the address": ask.ID, "a link to a new address": change.ID} {
		_, err := d.Attempt(d.Context(), id)
		d.want(what, err, storage.ErrNotFound)
	}
	for _, q := range d.claim(10, now) {
		if q.Attempt.Key == l.User.Key {
			d.Error("a mail is still to be sent")
		}
	}
	d.wantNotices("the app is told", 10, now, l.Session.ID+" client")
	d.wantSession("others", other.Session.ID, now, nil)
	d.want("again", d.DeleteUser(d.Context(), l.User.ID, now), storage.ErrNotFound)
	again := d.complete(d.start(func(a *storage.Attempt) { a.Key = l.User.Key }), now)
	if again.User.ID == l.User.ID {
		d.Error("the address finds the subject that was deleted")
	}
}

func deleteUserRace(d *db) {
	l := d.signIn()
	var completions [racers]storage.Completion
	for i := range completions {
		completions[i] = d.completion(d.start(func(a *storage.Attempt) { a.Key = l.User.Key }), t0)
	}
	errs := d.race(func(s Store, i int) error {
		if i == 0 {
			return s.DeleteUser(d.Context(), l.User.ID, t0)
		}
		_, err := s.CompleteAttempt(d.Context(), completions[i], t0)
		return err
	})
	d.must(errs[0])
	for _, err := range errs[1:] {
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			d.Errorf("signing in: %v", err)
		}
	}
	_, err := d.SetProfile(d.Context(), l.User.ID, "Ada", "", t0)
	d.want("the user", err, storage.ErrNotFound)
	d.wantSessionsOf("their sessions", l.User.ID, t0)
}

// muted asks for a link to an address and says whether its mail is muted.
func (d *db) muted(key string, known bool, now time.Time) bool {
	d.Helper()
	a := d.start(func(a *storage.Attempt) {
		a.Key, a.Known, a.CreatedAt, a.ExpiresAt = key, known, now, now.Add(15*time.Minute)
	})
	for _, q := range d.claim(100, now) {
		if q.Attempt.ID == a.ID {
			same(d, "known", q.Attempt.Known, known)
			return q.Muted
		}
	}
	d.Fatal("the mail is not due")
	return false
}

func muteHolds(d *db) {
	a := d.start()
	until := t0.Add(time.Hour)
	d.want("no attempt", d.Mute(d.Context(), "unknown", t0, until), storage.ErrNotFound)
	d.must(d.Mute(d.Context(), a.ID, t0, until))
	d.must(d.Mute(d.Context(), a.ID, t0, until.Add(-time.Minute))) // makes it no shorter
	for _, tt := range []struct {
		what  string
		key   string
		known bool
		now   time.Time
		want  bool
	}{
		{"muted", a.Key, false, t0, true},
		{"from a known browser", a.Key, true, t0, false},
		{"another address", "other@example.com", false, t0, false},
		{"at its last moment", a.Key, false, until.Add(-tick), true},
		{"at its end", a.Key, false, until, false},
	} {
		same(d, tt.what, d.muted(tt.key, tt.known, tt.now), tt.want)
	}
	d.wantSweep("at its last moment", until.Add(-tick), 0)
	d.wantSweep("at its end", until, 1)
}

func muteEnds(d *db) {
	a := d.start()
	d.must(d.Mute(d.Context(), a.ID, t0, t0.Add(time.Hour)))
	d.complete(a, t0)
	same(d, "after a login", d.muted(a.Key, false, t0), false)

	l := d.signIn()
	b, c := d.change(l, "new@example.com")
	d.must(d.Mute(d.Context(), b.ID, t0, t0.Add(time.Hour)))
	_, err := d.ChangeAddress(d.Context(), c, t0)
	d.must(err)
	same(d, "after a new address", d.muted("new@example.com", false, t0), false)
}

func undelivered(d *db) {
	now := t0.Add(time.Second)
	for state, want := range map[storage.MailState]time.Time{
		storage.MailFailed: now, storage.MailSent: {}, storage.MailRefused: {}, storage.MailExpired: {}, storage.MailQueued: {},
	} {
		m, a := d.queue(t0)
		d.must(d.FinishMail(d.Context(), []storage.MailOutcome{{ID: m.ID, State: state, NextAt: now}}, now))
		got, err := d.LatestAttempt(d.Context(), a.Txn, a.Browser)
		d.must(err)
		same(d, string(state), got.UndeliveredAt, want)
	}
}

func bounces(d *db) {
	wants := func(what string, since time.Time, want ...storage.Bounce) {
		d.Helper()
		got, err := d.Bounces(d.Context(), since, 10)
		d.must(err)
		if len(got)+len(want) > 0 {
			same(d, what, got, want)
		}
	}
	outcome := func(key string, o storage.MailOutcome, now time.Time) {
		d.Helper()
		a := d.attempt(func(a *storage.Attempt) { a.Key, a.Email = key, key })
		m := d.mail(a)
		d.must(d.StartAttempt(d.Context(), a, m, nil, t0))
		o.ID = m.ID
		d.must(d.FinishMail(d.Context(), []storage.MailOutcome{o}, now))
	}
	refused := storage.MailOutcome{State: storage.MailFailed, Detail: "rcpt 550 5.1.1", Bounced: true}
	wants("none", time.Time{})
	outcome("spam@example.com", storage.MailOutcome{State: storage.MailFailed, Detail: "dot 554 5.7.1"}, t0)
	wants("refused for its content", time.Time{})
	outcome("gone@example.com", refused, t0)
	outcome("full@example.com", refused, t0.Add(time.Second))
	gone := storage.Bounce{Key: "gone@example.com", Email: "gone@example.com", Detail: "rcpt 550 5.1.1", Count: 1, At: t0}
	full := storage.Bounce{Key: "full@example.com", Email: "full@example.com", Detail: "rcpt 550 5.1.1", Count: 1, At: t0.Add(time.Second)}
	wants("two", time.Time{}, full, gone)
	wants("since", t0.Add(time.Second), full)
	refused.Detail = "rcpt 552 5.2.2"
	outcome("gone@example.com", refused, t0.Add(time.Minute))
	gone.Detail, gone.Count, gone.At = refused.Detail, 2, t0.Add(time.Minute)
	wants("again", time.Time{}, gone, full)
	outcome("gone@example.com", storage.MailOutcome{State: storage.MailSent}, t0.Add(time.Hour))
	wants("it takes mail again", time.Time{}, full)
	end := full.At.Add(90 * day)
	_, err := d.Sweep(d.Context(), end.Add(-tick), 1000)
	d.must(err)
	wants("at its last moment", time.Time{}, full)
	d.wantSweep("a bounce", end, 1)
	wants("at its end", time.Time{})
}
