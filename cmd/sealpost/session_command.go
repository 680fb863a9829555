package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

type sessionCommand struct {
	List sessionList `cmd:"" help:"List the live sessions, of everyone, of one person, or at one application."`
	Show sessionShow `cmd:"" help:"Show one live session."`
	End  sessionEnd  `cmd:"" help:"End one session, or all of one person."`
}

// Help is shown by sealpost session --help.
func (sessionCommand) Help() string {
	return `A session is a browser that is signed in. These commands work on the database, beside a running server: a session
that was ended signs in nowhere any more, at once, and applications that want to hear of it do (back-channel logout,
sent by the server).

  sealpost session list --config sealpost.yaml --user ada@example.com
  sealpost session list --config sealpost.yaml --client grafana --json
  sealpost session show --config sealpost.yaml ZbOUs_8-QkF-y_99JmeNuQ
  sealpost session end --config sealpost.yaml ZbOUs_8-QkF-y_99JmeNuQ
  sealpost session end --config sealpost.yaml --user ada@example.com`
}

// sessionFlags are the flags of every session command.
type sessionFlags struct{ clientFlags }

// shownSession is a live session as the command line shows one.
type shownSession struct {
	ID        string   `json:"id"`  // as the database knows it
	SID       string   `json:"sid"` // as tokens and the log do
	UserID    string   `json:"sub"`
	Email     string   `json:"email"`
	Browser   string   `json:"browser,omitempty"`
	Network   string   `json:"network,omitempty"`
	AuthTime  string   `json:"auth_time"`
	CreatedAt string   `json:"created_at"`
	SeenAt    string   `json:"seen_at"`
	IdleAt    string   `json:"idle_at"`
	ExpiresAt string   `json:"expires_at"`
	Clients   []string `json:"clients,omitempty"`
}

func sessionAs(l storage.Login) shownSession {
	s := l.Session
	return shownSession{
		ID: s.ID, SID: keys.SID(s.ID), UserID: s.UserID, Email: l.User.Email, Browser: s.Browser, Network: s.Network,
		AuthTime: stamp(s.AuthTime), CreatedAt: stamp(s.CreatedAt), SeenAt: stamp(s.SeenAt), IdleAt: stamp(s.IdleAt), ExpiresAt: stamp(s.ExpiresAt),
	}
}

// pageFlags bound a list.
type pageFlags struct {
	Limit int    `default:"100" placeholder:"N" help:"How many at most; 100 when left out."`
	After string `placeholder:"ID" help:"Go on after this one, the last of the list before."`
}

func (f pageFlags) check() error {
	return checkLimit(f.Limit)
}

func checkLimit(n int) error {
	if n < 1 {
		return usageError{fmt.Errorf("--limit: \"%d\": must be 1 or more", n)}
	}
	return nil
}

// more says how to go on when a list may not be all.
func (f pageFlags) more(p *process, listed int, last string) {
	if listed == f.Limit {
		fmt.Fprintf(p.stderr, "There may be more: --after=%s\n", last)
	}
}

type sessionList struct {
	sessionFlags
	pageFlags
	User   string `placeholder:"ADDR|SUB" help:"Only of this person: the address, or the sub."`
	Client string `placeholder:"ID" help:"Only those that signed in to this application."`
}

// Help is shown by sealpost session list --help.
func (sessionList) Help() string {
	return `Lists live sessions by id. A list of as many as --limit may not be all: go on with --after and the last id. The sid is
what tokens and the log of the server name a session by.

  sealpost session list --config sealpost.yaml --user ada@example.com
  sealpost session list --config sealpost.yaml --client grafana --limit 1000 --json`
}

// Run lists sessions.
func (c sessionList) Run(p *process) error {
	if err := c.check(); err != nil {
		return err
	}
	return c.withStore(p, func(s Settings, db store) error {
		filter := storage.SessionFilter{ClientID: c.Client, After: c.After, Limit: c.Limit}
		if c.User != "" {
			u, err := findPerson(p, db, c.User)
			if err != nil {
				return err
			}
			filter.UserID = u.ID
		}
		found, err := db.Sessions(p.ctx, filter, p.now())
		if err != nil {
			return fmt.Errorf("list sessions: %w", err)
		}
		if len(found) == 0 {
			if err := s.known(p, db, c.Client); err != nil {
				return err
			}
		}
		all := []shownSession{}
		for _, l := range found {
			all = append(all, sessionAs(l))
		}
		if c.JSON {
			return c.printJSON(p, all)
		}
		table := newTable(p.stdout, "ID", "EMAIL", "FROM", "SIGNED_IN", "LAST_SEEN")
		for _, s := range all {
			table.row(s.ID, s.Email, cameFrom(s.Browser, s.Network), s.CreatedAt, s.SeenAt)
		}
		if err := table.flush(); err != nil {
			return err
		}
		if len(all) > 0 {
			c.more(p, len(all), all[len(all)-1].ID)
		}
		return nil
	})
}

// known refuses a client that nobody knows, of which nothing was found. None is
// no client.
func (s *Settings) known(p *process, db store, clientID string) error {
	if _, fixed := s.inFile(clientID); fixed || clientID == "" {
		return nil
	}
	if _, err := db.Client(p.ctx, clientID); err != nil {
		return s.unknownClient(p, db, clientID, err)
	}
	return nil
}

// findSession finds a live session by id.
func findSession(p *process, db store, id string) (storage.Login, error) {
	l, err := db.Session(p.ctx, id, p.now())
	if errors.Is(err, storage.ErrNotFound) {
		return l, fmt.Errorf("there is no live session %q; see: sealpost session list (a sid of the log is not the id: look for it with --json)", id)
	}
	if err != nil {
		return l, fmt.Errorf("find session: %w", err)
	}
	return l, nil
}

type sessionShow struct {
	sessionFlags
	ID string `arg:"" help:"The id, as sealpost session list and the audit log have it."`
}

// Run shows a session, with the applications that it signed in to.
func (c sessionShow) Run(p *process) error {
	return c.withStore(p, func(_ Settings, db store) error {
		l, err := findSession(p, db, c.ID)
		if err != nil {
			return err
		}
		s := sessionAs(l)
		if s.Clients, err = db.ClientsOf(p.ctx, c.ID); err != nil {
			return fmt.Errorf("list clients: %w", err)
		}
		if c.JSON {
			return c.printJSON(p, s)
		}
		table := newTable(p.stdout)
		for _, line := range [][2]string{
			{"id", s.ID}, {"sid", s.SID}, {"email", s.Email}, {"sub", s.UserID}, {"from", cameFrom(s.Browser, s.Network)},
			{"proven", s.AuthTime}, {"signed in", s.CreatedAt}, {"last seen", s.SeenAt}, {"ends unless seen", s.IdleAt}, {"ends", s.ExpiresAt},
			{"applications", strings.Join(s.Clients, " ")},
		} {
			table.row(line[0]+":", line[1])
		}
		return table.flush()
	})
}

type sessionEnd struct {
	sessionFlags
	ID   string `arg:"" optional:"" help:"The id, as sealpost session list has it."`
	User string `placeholder:"ADDR|SUB" help:"All sessions of this person: the address, or the sub."`
}

// Help is shown by sealpost session end --help.
func (sessionEnd) Help() string {
	return `Does what "Sign out" does on the account page: the tokens of the session end with it, save those of offline_access,
which sealpost grant revoke takes back. The person may sign in again; sealpost user disable keeps them out.

  sealpost session end --config sealpost.yaml ZbOUs_8-QkF-y_99JmeNuQ
  sealpost session end --config sealpost.yaml --user ada@example.com --json`
}

// Run ends sessions.
func (c sessionEnd) Run(p *process) error {
	if (c.ID == "") == (c.User == "") {
		return usageError{errors.New("name one session by its id, or a person with --user; see: sealpost session list")}
	}
	return c.withStore(p, func(_ Settings, db store) error {
		ended, u := 1, storage.User{}
		if c.ID != "" {
			l, err := findSession(p, db, c.ID)
			if err != nil {
				return err
			}
			u = l.User
			err = db.EndSessionOf(p.ctx, u.ID, c.ID, p.now())
			if err != nil && !errors.Is(err, storage.ErrNotFound) { // somebody else was faster
				return fmt.Errorf("end session: %w", err)
			}
		} else {
			var err error
			if u, err = findPerson(p, db, c.User); err != nil {
				return err
			}
			if ended, err = db.EndOtherSessions(p.ctx, u.ID, "", p.now()); err != nil {
				return fmt.Errorf("end sessions: %w", err)
			}
		}
		if c.JSON {
			return c.printJSON(p, map[string]any{"ended": ended, "email": u.Email, "sub": u.ID})
		}
		_, err := fmt.Fprintf(p.stdout, "ended %d of %s\n", ended, u.Email)
		return err
	})
}

// idOfSession is an id that kong would read as a flag.
var idOfSession = regexp.MustCompile(`^-[A-Za-z0-9_-]{21}$`)

// idsLast puts ids of sessions that begin with a hyphen behind a "--", where they
// are no flags.
func idsLast(args []string) []string {
	if len(args) == 0 || args[0] != "session" || slices.Contains(args, "--") {
		return args
	}
	var ids, rest []string
	for _, arg := range args {
		if idOfSession.MatchString(arg) {
			ids = append(ids, arg)
		} else {
			rest = append(rest, arg)
		}
	}
	if ids == nil {
		return args
	}
	return slices.Concat(rest, []string{"--"}, ids)
}
