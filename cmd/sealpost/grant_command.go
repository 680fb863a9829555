package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sealpost/sealpost/storage"
)

type grantCommand struct {
	List   grantList   `cmd:"" help:"List what people allowed applications, and which of them hold tokens."`
	Revoke grantRevoke `cmd:"" help:"Take back what an application was allowed, its tokens included."`
}

// Help is shown by sealpost grant --help.
func (grantCommand) Help() string {
	return `What a person has to do with an application: a consent, tokens that are good, or both. These commands work on the
database, beside a running server.

  sealpost grant list --config sealpost.yaml --user ada@example.com
  sealpost grant revoke --config sealpost.yaml --user ada@example.com --client grafana
  sealpost grant revoke --config sealpost.yaml --client grafana --yes`
}

// grantFlags are the flags of every grant command.
type grantFlags struct {
	clientFlags
	User   string `placeholder:"ADDR|SUB" help:"Of this person: the address, or the sub."`
	Client string `placeholder:"ID" help:"Of this application."`
}

// grantOf is one application of one person.
type grantOf struct {
	storage.User
	storage.App
}

// people are those whom the flags name, a page of them beyond after.
func (f grantFlags) people(p *process, db store, after string, limit int) ([]storage.User, error) {
	if f.User != "" {
		u, err := findPerson(p, db, f.User)
		return []storage.User{u}, err
	}
	users, err := db.UsersWithApps(p.ctx, f.Client, after, limit, p.now())
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	return users, nil
}

// grants are those of people that the flags name.
func (f grantFlags) grants(p *process, db store, people []storage.User) ([]grantOf, error) {
	var all []grantOf
	for _, u := range people {
		apps, err := db.Apps(p.ctx, u.ID, p.now())
		if err != nil {
			return nil, fmt.Errorf("list apps: %w", err)
		}
		for _, a := range apps {
			if f.Client == "" || a.ClientID == f.Client {
				all = append(all, grantOf{u, a})
			}
		}
	}
	return all, nil
}

// shownGrant is a grant as the command line shows one.
type shownGrant struct {
	UserID    string   `json:"sub"`
	Email     string   `json:"email"`
	ClientID  string   `json:"client_id"`
	Scopes    []string `json:"scopes"`
	ConsentAt string   `json:"consent_at,omitempty"`
	GrantedAt string   `json:"granted_at,omitempty"`
	Offline   bool     `json:"offline"`
}

func (f grantFlags) print(p *process, grants []grantOf) error {
	at := func(t time.Time, none string) string {
		if t.IsZero() {
			return none
		}
		return stamp(t)
	}
	if f.JSON {
		all := []shownGrant{}
		for _, g := range grants {
			all = append(all, shownGrant{
				UserID: g.User.ID, Email: g.Email, ClientID: g.ClientID, Scopes: append([]string{}, g.Scopes...),
				ConsentAt: at(g.ConsentAt, ""), GrantedAt: at(g.GrantedAt, ""), Offline: g.Offline,
			})
		}
		return f.printJSON(p, all)
	}
	table := newTable(p.stdout, "EMAIL", "CLIENT", "SCOPES", "CONSENT", "TOKENS", "OFFLINE")
	for _, g := range grants {
		offline := "no"
		if g.Offline {
			offline = "yes"
		}
		table.row(g.Email, g.ClientID, strings.Join(g.Scopes, " "), at(g.ConsentAt, "-"), at(g.GrantedAt, "-"), offline)
	}
	return table.flush()
}

type grantList struct {
	grantFlags
	pageFlags
}

// Help is shown by sealpost grant list --help.
func (grantList) Help() string {
	return `Lists by person. CONSENT is when the person allowed it, TOKENS when the application last signed them in and holds
tokens since, OFFLINE whether those outlive the session. --limit counts people: where there are as many, go on with
--after and the last sub.

  sealpost grant list --config sealpost.yaml --user ada@example.com
  sealpost grant list --config sealpost.yaml --client grafana --json`
}

// Run lists grants.
func (c grantList) Run(p *process) error {
	if err := c.check(); err != nil {
		return err
	}
	return c.withStore(p, func(s Settings, db store) error {
		people, err := c.people(p, db, c.After, c.Limit)
		if err != nil {
			return err
		}
		grants, err := c.grants(p, db, people)
		if err != nil {
			return err
		}
		if len(grants) == 0 {
			if err := s.known(p, db, c.Client); err != nil {
				return err
			}
		}
		if err := c.print(p, grants); err != nil || c.JSON || c.User != "" || len(people) == 0 {
			return err
		}
		c.more(p, len(people), people[len(people)-1].ID)
		return nil
	})
}

type grantRevoke struct {
	grantFlags
	Yes bool `help:"Do not ask."`
}

// Help is shown by sealpost grant revoke --help.
func (grantRevoke) Help() string {
	return `Does what "Remove access" does on the account page: the consent goes, access and refresh tokens end, those of
offline_access too, and the application hears of it where it wants to (back-channel logout, sent by the running
server). Sessions go on. Without --client it is every application of the person; without --user it is everybody of the
application, and asks first.

  sealpost grant revoke --config sealpost.yaml --user ada@example.com --client grafana
  sealpost grant revoke --config sealpost.yaml --user ada@example.com
  sealpost grant revoke --config sealpost.yaml --client grafana --yes --json`
}

// revokeBatch is after how many people it says how far it has come.
const revokeBatch = 200

// Run revokes grants.
func (c grantRevoke) Run(p *process) error {
	if c.User == "" && c.Client == "" {
		return usageError{errors.New("name a person with --user, an application with --client, or both")}
	}
	return c.withStore(p, func(s Settings, db store) error {
		if c.User == "" {
			if err := p.confirm(c.Yes, fmt.Sprintf("Take back what everybody allowed %s?", c.Client)); err != nil {
				return err
			}
		}
		revoked, after := 0, ""
		for {
			people, err := c.people(p, db, after, revokeBatch)
			if err != nil {
				return err
			}
			grants, err := c.grants(p, db, people)
			if err != nil {
				return err
			}
			for _, g := range grants {
				if err := db.RemoveApp(p.ctx, g.User.ID, g.ClientID, p.now()); err != nil {
					return fmt.Errorf("revoke, after %d: %w", revoked, err)
				}
				revoked++
			}
			if c.User != "" || len(people) < revokeBatch {
				break
			}
			after = people[len(people)-1].ID
			fmt.Fprintf(p.stderr, "%d revoked so far\n", revoked)
		}
		if revoked == 0 {
			if err := s.known(p, db, c.Client); err != nil {
				return err
			}
		}
		if c.JSON {
			return c.printJSON(p, map[string]int{"revoked": revoked})
		}
		_, err := fmt.Fprintln(p.stdout, "revoked", revoked)
		return err
	})
}
