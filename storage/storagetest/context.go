package storagetest

import (
	"context"
	"reflect"
	"strings"
	"time"

	"github.com/sealpost/sealpost/storage"
)

var contextTests = []test{
	{name: "a cancelled call fails and writes nothing", run: contextCancelled},
	{name: "a call cancelled at any moment is done or not done", run: contextMidway},
}

func contextCancelled(d *db) {
	ctx, cancel := context.WithCancel(d.Context())
	cancel()
	l := d.signIn()
	_, change := d.change(l, "new@example.com")
	d.claim(10, t0)
	ended := d.signIn()
	d.claim(10, t0)
	d.signInTo(ended, "client", true)
	d.end(ended.Session.ID, t0)
	w := world{
		notice: storage.LogoutNotice{SessionID: ended.Session.ID, ClientID: "client", UserID: ended.User.ID, CreatedAt: t0, NextAt: t0},
		asking: d.askDevice(), allowed: d.allowed(l), device: d.newDevice(), ofDevice: d.newGrant(l),
		use:   storage.Use{Key: "u", EndsAt: t0.Add(time.Hour)},
		login: l, asked: d.start(), grant: d.redeem(l, offline, refreshable),
		attempt: d.attempt(), code: d.newGrant(l), burned: d.newGrant(l),
		client: storage.Client{ID: "client", CreatedAt: t0, UpdatedAt: t0},
		key:    storage.SigningKey{ID: "k", Algorithm: "RS256", Generation: 1, Sealed: []byte("k"), CreatedAt: t0, SignsAt: t0},
		limit:  storage.Limit{Key: "l", Max: 1, Window: time.Hour},
	}
	w.completion, w.change = d.completion(w.asked, t0), change
	w.events = d.events()
	untried := map[string]bool{}
	for m := range reflect.TypeFor[Store]().Methods() {
		untried[m.Name] = m.Type.NumIn() > 0 && m.Type.In(0) == reflect.TypeFor[context.Context]()
	}
	for name, call := range w.calls(ctx, d) {
		d.want(name, call(), context.Canceled)
		untried[strings.Fields(name)[0]] = false
	}
	for name, is := range untried {
		if is {
			d.Errorf("%s was not tried", name)
		}
	}
	w.wantUntouched(d)
}

// world is what calls are about: what is there, and what is not yet.
type world struct {
	login   storage.Login
	asked   storage.Attempt
	grant   storage.Grant
	notice  storage.LogoutNotice
	asking  storage.Device
	allowed storage.Device

	attempt      storage.Attempt
	completion   storage.Completion
	change       storage.AddressChange
	code, burned storage.Grant
	client       storage.Client
	key          storage.SigningKey
	limit        storage.Limit
	events       []storage.Event
	use          storage.Use
	device       storage.Device
	ofDevice     storage.Grant
}

// calls are calls of all methods, each of which would change what it can.
func (w world) calls(ctx context.Context, d *db) map[string]func() error {
	a, g, session, user := w.asked, w.grant, w.login.Session.ID, w.login.User.ID
	return map[string]func() error{
		"Ping":          func() error { return d.Ping(ctx) },
		"Migrate":       func() error { return d.Migrate(ctx) },
		"SchemaVersion": func() error { _, _, err := d.SchemaVersion(ctx); return err },
		"StartAttempt": func() error {
			return d.StartAttempt(ctx, w.attempt, d.mail(w.attempt), []storage.Limit{w.limit}, t0)
		},
		"Attempt":         func() error { _, err := d.Attempt(ctx, a.ID); return err },
		"LatestAttempt":   func() error { _, err := d.LatestAttempt(ctx, a.Txn, a.Browser); return err },
		"ShowCode":        func() error { _, err := d.ShowCode(ctx, a.ID, t0); return err },
		"CloseAttempt":    func() error { return d.CloseAttempt(ctx, a.ID, t0) },
		"CancelAttempts":  func() error { return d.CancelAttempts(ctx, a.Txn, a.Browser, t0) },
		"TryCode":         func() error { _, err := d.TryCode(ctx, a.ID, a.Browser, false, t0); return err },
		"CompleteAttempt": func() error { _, err := d.CompleteAttempt(ctx, w.completion, t0); return err },
		"Session":         func() error { _, err := d.Session(ctx, session, t0); return err },
		"TouchSession":    func() error { return d.TouchSession(ctx, session, t0, t0.Add(9*time.Hour)) },
		"EndSession":      func() error { _, err := d.EndSession(ctx, session, t0); return err },
		"ClaimNotices":    func() error { _, err := d.ClaimNotices(ctx, 9, t0, t0.Add(time.Hour)); return err },
		"FinishNotices": func() error {
			return d.FinishNotices(ctx, []storage.NoticeOutcome{{SessionID: w.notice.SessionID, ClientID: w.notice.ClientID, CreatedAt: w.notice.CreatedAt, State: storage.NoticeFailed}}, t0)
		},
		"Use":          func() error { return d.Use(ctx, []storage.Use{w.use}, t0) },
		"Used":         func() error { _, err := d.Used(ctx, w.use.Key, t0); return err },
		"AddDevice":    func() error { return d.AddDevice(ctx, w.device) },
		"Device":       func() error { _, err := d.Device(ctx, w.asking.UserCode, t0); return err },
		"AllowDevice":  func() error { return d.AllowDevice(ctx, w.asking.UserCode, w.login, t0) },
		"DenyDevice":   func() error { return d.DenyDevice(ctx, w.asking.UserCode, t0) },
		"PollDevice":   func() error { _, err := d.PollDevice(ctx, w.asking.ID, w.asking.ClientID, t0); return err },
		"RedeemDevice": func() error { _, err := d.RedeemDevice(ctx, w.allowed.ID, w.ofDevice, true, t0); return err },
		"ClaimMail":    func() error { _, err := d.ClaimMail(ctx, 9, t0, t0.Add(time.Hour)); return err },
		"FinishMail": func() error {
			return d.FinishMail(ctx, []storage.MailOutcome{{ID: "unknown", State: storage.MailSent}}, t0)
		},
		"Client":           func() error { _, err := d.Client(ctx, w.client.ID); return err },
		"Clients":          func() error { _, err := d.Clients(ctx); return err },
		"AddClient":        func() error { return d.AddClient(ctx, w.client) },
		"SaveClient":       func() error { return d.SaveClient(ctx, w.client, w.client) },
		"RemoveClient":     func() error { return d.RemoveClient(ctx, w.client.ID, t0) },
		"RedeemCode":       func() error { _, err := d.RedeemCode(ctx, w.code, storage.Redeeming{}, t0); return err },
		"RedeemCode again": func() error { _, err := d.RedeemCode(ctx, g, storage.Redeeming{}, t0); return err },
		"BurnCode":         func() error { return d.BurnCode(ctx, w.burned, t0) },
		"Refresh": func() error {
			_, _, err := d.Refresh(ctx, storage.Refreshing{ID: g.ID, ClientID: g.ClientID, Generation: 1, AnyKey: true, IdleAt: t0, ExpiresAt: t0}, t0)
			return err
		},
		"Grant":       func() error { _, _, err := d.Grant(ctx, g.ID, t0); return err },
		"RevokeGrant": func() error { return d.RevokeGrant(ctx, g.ID, g.ClientID, t0) },
		"Consent":     func() error { _, err := d.Consent(ctx, w.login.User.ID, w.client.ID); return err },
		"SaveConsent": func() error {
			return d.SaveConsent(ctx, storage.Consent{UserID: w.login.User.ID, ClientID: w.client.ID, Scopes: []string{"openid"}, At: t0})
		},
		"SigningKeys":   func() error { _, err := d.SigningKeys(ctx); return err },
		"AddSigningKey": func() error { return d.AddSigningKey(ctx, w.key) },
		"DisableUser":   func() error { return d.DisableUser(ctx, w.login.User.ID, t0) },
		"Sweep":         func() error { _, err := d.Sweep(ctx, t0.Add(99*day), 9); return err },
		"Events":        func() error { _, err := d.Events(ctx, storage.EventFilter{}); return err },
		"SweepEvents":   func() error { _, err := d.SweepEvents(ctx, t0.Add(day), 9); return err },
		"CountLimits":   func() error { return d.CountLimits(ctx, []storage.Limit{w.limit}, t0) },
		"Backlog":       func() error { _, err := d.Backlog(ctx); return err },
		"EnableUser":    func() error { return d.EnableUser(ctx, user, t0) },
		"AddUser": func() error {
			return d.AddUser(ctx, storage.User{ID: "new", Key: "bob@example.com", Email: "bob@example.com", CreatedAt: t0, UpdatedAt: t0})
		},
		"User":              func() error { _, err := d.User(ctx, w.login.User.Key); return err },
		"Users":             func() error { _, err := d.Users(ctx); return err },
		"UsersByID":         func() error { _, err := d.UsersByID(ctx, []string{user}); return err },
		"SetGroups":         func() error { return d.SetGroups(ctx, user, []string{"staff"}, t0.Add(time.Hour)) },
		"SessionsOf":        func() error { _, err := d.SessionsOf(ctx, user, t0); return err },
		"Sessions":          func() error { _, err := d.Sessions(ctx, storage.SessionFilter{Limit: 9}, t0); return err },
		"ClientsOf":         func() error { _, err := d.ClientsOf(ctx, session); return err },
		"EndSessionOf":      func() error { return d.EndSessionOf(ctx, user, session, t0) },
		"EndOtherSessions":  func() error { _, err := d.EndOtherSessions(ctx, user, "another", t0); return err },
		"Apps":              func() error { _, err := d.Apps(ctx, user, t0); return err },
		"UsersWithApps":     func() error { _, err := d.UsersWithApps(ctx, g.ClientID, "", 9, t0); return err },
		"RemoveApp":         func() error { return d.RemoveApp(ctx, user, g.ClientID, t0) },
		"SetProfile":        func() error { _, err := d.SetProfile(ctx, user, "Ada", "fr", t0.Add(time.Hour)); return err },
		"ChangeAddress":     func() error { _, err := d.ChangeAddress(ctx, w.change, t0); return err },
		"DeleteUser":        func() error { return d.DeleteUser(ctx, user, t0) },
		"Mute":              func() error { return d.Mute(ctx, a.ID, t0, t0.Add(time.Hour)) },
		"Bounces":           func() error { _, err := d.Bounces(ctx, time.Time{}, 9); return err },
		"ResealSigningKey":  func() error { return d.ResealSigningKey(ctx, w.key.ID, w.key.Sealed, []byte("new")) },
		"RemoveSigningKeys": func() error { return d.RemoveSigningKeys(ctx, t0, t0) },
	}
}

// wantUntouched checks that what was there is as it was and nothing was added.
func (w world) wantUntouched(d *db) {
	d.Helper()
	same(d, "events", d.events(), w.events)
	same(d, "attempt", d.wantState("untouched", w.asked.ID, t0, storage.StateLive), w.asked)
	l, err := d.Session(d.Context(), w.login.Session.ID, t0)
	d.must(err)
	same(d, "session", l, w.login)
	g, _, err := d.Grant(d.Context(), w.grant.ID, t0)
	d.must(err)
	same(d, "grant", g, w.grant)

	_, err = d.Attempt(d.Context(), w.attempt.ID)
	d.want("attempt", err, storage.ErrNotFound)
	d.wantSession("new", w.completion.Session.ID, t0, storage.ErrNotFound)
	_, err = d.Client(d.Context(), w.client.ID)
	d.want("client", err, storage.ErrNotFound)
	_, err = d.Consent(d.Context(), w.login.User.ID, w.client.ID)
	d.want("consent", err, storage.ErrNotFound)
	keys, err := d.SigningKeys(d.Context())
	d.must(err)
	same(d, "keys", len(keys), 0)

	same(d, "messages due", len(d.claim(10, t0)), 1)
	due := w.notice
	due.NextAt, due.Tries = t0.Add(time.Minute), 1
	same(d, "notices", d.claimNotices(10, t0), []storage.LogoutNotice{due})
	d.must(d.Use(d.Context(), []storage.Use{w.use}, t0))
	asking, err := d.Device(d.Context(), w.asking.UserCode, t0)
	d.must(err)
	same(d, "device", asking, w.asking)
	d.must(d.AddDevice(d.Context(), w.device))
	_, err = d.RedeemDevice(d.Context(), w.allowed.ID, w.ofDevice, true, t0)
	d.must(err)
	d.must(d.ask(d, t0, w.limit)) // nothing was counted
	for _, fresh := range []storage.Grant{w.code, w.burned} {
		_, err = d.RedeemCode(d.Context(), fresh, storage.Redeeming{}, t0)
		d.must(err)
	}
}

// contextMidway cancels calls while they run. Whatever a call answers, its
// attempt is used together with its session and user, or not at all, and the
// store goes on working.
func contextMidway(d *db) {
	cs := make([]storage.Completion, racers)
	for i := range cs {
		cs[i] = d.completion(d.start(), t0)
	}
	errs := d.race(func(s Store, i int) error {
		ctx, cancel := context.WithCancel(d.Context())
		defer cancel()
		go cancel()
		_, err := s.CompleteAttempt(ctx, cs[i], t0)
		return err
	})
	for i, c := range cs {
		a, err := d.Attempt(d.Context(), c.AttemptID)
		d.must(err)
		if errs[i] == nil && a.UsedAt.IsZero() {
			d.Fatal("completed, but not used")
		}
		want := error(nil)
		if a.UsedAt.IsZero() {
			want = storage.ErrNotFound
		}
		d.wantSession("of the attempt", c.Session.ID, t0, want)
		if a.UsedAt.IsZero() {
			d.complete(a, t0)
		}
	}
}
