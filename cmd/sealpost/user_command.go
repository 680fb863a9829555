package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/login"
	"github.com/sealpost/sealpost/provider"
	"github.com/sealpost/sealpost/storage"
)

type userCommand struct {
	Add     userAdd     `cmd:"" help:"Invite someone: with login.signup invite, only those who were may sign in."`
	Invite  userInvite  `cmd:"" help:"Invite several at once. No mail is sent; who is there already stays as they are."`
	List    userList    `cmd:"" help:"List everyone who signed in or was invited."`
	Show    userShow    `cmd:"" help:"Show one person."`
	Groups  userGroups  `cmd:"" help:"Say which groups a person is in, in place of those before."`
	Disable userDisable `cmd:"" help:"Keep someone out; sessions and tokens end at once."`
	Enable  userEnable  `cmd:"" help:"Let someone who was disabled sign in again."`
	Export  userExport  `cmd:"" help:"Print all that is kept about one person, as JSON."`
	Delete  userDelete  `cmd:"" help:"Delete someone for good, with all that is kept about them."`
}

// Help is shown by sealpost user --help.
func (userCommand) Help() string {
	return `These commands work on the database, beside a running server. A person is named by the address.

  sealpost user add ada@example.com --config sealpost.yaml --name "Ada Lovelace" --group staff
  sealpost user invite bob@example.com eve@example.com --config sealpost.yaml --group staff
  sealpost user show ada@example.com --config sealpost.yaml
  sealpost user groups ada@example.com --config sealpost.yaml --group staff --group ops
  sealpost user disable ada@example.com --config sealpost.yaml
  sealpost user enable ada@example.com --config sealpost.yaml
  sealpost user list --config sealpost.yaml --json`
}

// shownUser is a person as the command line shows one.
type shownUser struct {
	ID          string   `json:"sub"`
	Email       string   `json:"email"`
	Name        string   `json:"name,omitempty"`
	Locale      string   `json:"locale,omitempty"`
	Groups      []string `json:"groups"`
	CreatedAt   string   `json:"created_at"`
	LastLoginAt string   `json:"last_login_at,omitempty"`
	DisabledAt  string   `json:"disabled_at,omitempty"`
}

func shownAs(u storage.User) shownUser {
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339)
	}
	return shownUser{
		ID: u.ID, Email: u.Email, Name: u.Name, Locale: u.Locale, Groups: append([]string{}, u.Groups...),
		CreatedAt: at(u.CreatedAt), LastLoginAt: at(u.LastLoginAt), DisabledAt: at(u.DisabledAt),
	}
}

// userFlags are the flags of every user command.
type userFlags struct{ clientFlags }

// withUser finds a person and does something to them.
func (f userFlags) withUser(p *process, who string, do func(db store, u storage.User) error) error {
	return f.withStore(p, func(_ Settings, db store) error {
		u, err := findPerson(p, db, who)
		if err != nil {
			return err
		}
		return do(db, u)
	})
}

// findUser finds a person by address.
func findUser(p *process, db store, addr login.Address) (storage.User, error) {
	u, err := db.User(p.ctx, addr.Key)
	if errors.Is(err, storage.ErrNotFound) {
		return u, fmt.Errorf("there is no user %s; see: sealpost user list", addr.Delivery)
	}
	if err != nil {
		return u, fmt.Errorf("find user: %w", err)
	}
	return u, nil
}

// findPerson finds a person by address or, where it is none, by sub.
func findPerson(p *process, db store, text string) (storage.User, error) {
	if strings.Contains(text, "@") {
		addr, err := readAddress(text)
		if err != nil {
			return storage.User{}, err
		}
		return findUser(p, db, addr)
	}
	found, err := db.UsersByID(p.ctx, []string{text})
	if err != nil {
		return storage.User{}, fmt.Errorf("find user: %w", err)
	}
	if len(found) == 0 {
		return storage.User{}, fmt.Errorf("there is no user with the sub %q; write an address such as ada@example.com, or a sub of: sealpost user list --json", text)
	}
	return found[0], nil
}

// readAddress reads an address of the command line.
func readAddress(email string) (login.Address, error) {
	addr, err := login.ParseAddress(email)
	if err != nil {
		return addr, usageError{fmt.Errorf("%q: write an address such as ada@example.com", email)}
	}
	return addr, nil
}

// again shows a person as the database has them now.
func (f userFlags) again(p *process, db store, key string) error {
	u, err := db.User(p.ctx, key)
	if err != nil {
		return fmt.Errorf("find user: %w", err)
	}
	return f.print(p, u)
}

func (f userFlags) print(p *process, u storage.User) error {
	if f.JSON {
		return f.printJSON(p, shownAs(u))
	}
	return printUsers(p.stdout, []storage.User{u})
}

func printUsers(w io.Writer, users []storage.User) error {
	table := newTable(w, "EMAIL", "NAME", "GROUPS", "LAST_LOGIN", "STATE")
	for _, u := range users {
		state, last := "active", "never"
		if !u.DisabledAt.IsZero() {
			state = "disabled"
		}
		if !u.LastLoginAt.IsZero() {
			last = stamp(u.LastLoginAt)
		}
		table.row(u.Email, u.Name, strings.Join(u.Groups, " "), last, state)
	}
	return table.flush()
}

type userAdd struct {
	userFlags
	Email string   `arg:"" help:"The address."`
	Name  string   `help:"Name that applications see."`
	Group []string `placeholder:"GROUP" help:"A group the person is in. Repeat for several."`
}

// Run invites someone.
func (c userAdd) Run(p *process) error {
	addr, err := readAddress(c.Email)
	if err != nil {
		return err
	}
	return c.withNewStore(p, func(s Settings, db store) error {
		s.warnShutOut(p, addr)
		err := db.AddUser(p.ctx, invited(addr, c.Name, c.Group, p.now()))
		if errors.Is(err, storage.ErrConflict) {
			return fmt.Errorf("user %s exists already; see: sealpost user show %s", c.Email, c.Email)
		}
		if err != nil {
			return fmt.Errorf("add user: %w", err)
		}
		return c.again(p, db, addr.Key)
	})
}

// warnShutOut says of an address that an invitation does not let it in.
func (s *Settings) warnShutOut(p *process, addr login.Address) {
	if !login.Allowed(addr.Key, s.Login.Allow, s.Login.Deny) {
		fmt.Fprintf(p.stderr, "%s may not sign in all the same: see login.allow and login.deny\n", addr.Delivery)
	}
}

// invited is a person who has not signed in yet.
func invited(addr login.Address, name string, groups []string, now time.Time) storage.User {
	return storage.User{ID: keys.ID(), Key: addr.Key, Email: addr.Delivery, Name: name, Groups: sorted(groups), CreatedAt: now, UpdatedAt: now}
}

// sorted gives groups in order, each once.
func sorted(groups []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(groups)))
}

type userInvite struct {
	userFlags
	Emails []string `arg:"" name:"email" help:"The addresses."`
	Group  []string `placeholder:"GROUP" help:"A group that each of the new ones is in. Repeat for several."`
}

// Help is shown by sealpost user invite --help.
func (userInvite) Help() string {
	return `Makes the people who are not there yet, so that they may sign in where login.signup is invite. Nobody is sent a
mail: tell them where to sign in. Who is there already is left alone and said so; their groups stay.

  sealpost user invite bob@example.com eve@example.com --config sealpost.yaml --group staff
  xargs sealpost user invite --config sealpost.yaml --json < addresses.txt`
}

// invitedUser is what became of an invitation.
type invitedUser struct {
	shownUser
	Invited bool `json:"invited"` // false: they were there already
}

// Run invites each of the addresses. One that is none refuses all.
func (c userInvite) Run(p *process) error {
	var addresses []login.Address
	var wrong error
	for _, email := range c.Emails {
		addr, err := readAddress(email)
		addresses, wrong = append(addresses, addr), errors.Join(wrong, err)
	}
	if wrong != nil {
		return wrong
	}
	return c.withNewStore(p, func(s Settings, db store) error {
		all := []invitedUser{}
		for _, addr := range addresses {
			s.warnShutOut(p, addr)
			err := db.AddUser(p.ctx, invited(addr, "", c.Group, p.now()))
			if err != nil && !errors.Is(err, storage.ErrConflict) {
				return fmt.Errorf("invite %s: %w", addr.Delivery, err)
			}
			u, findErr := db.User(p.ctx, addr.Key)
			if findErr != nil {
				return fmt.Errorf("find user: %w", findErr)
			}
			all = append(all, invitedUser{shownAs(u), err == nil})
		}
		if c.JSON {
			return c.printJSON(p, all)
		}
		table := newTable(p.stdout, "EMAIL", "GROUPS", "RESULT")
		for _, u := range all {
			result := "invited"
			if !u.Invited {
				result = "was there already"
			}
			table.row(u.Email, strings.Join(u.Groups, " "), result)
		}
		return table.flush()
	})
}

type userExport struct {
	userFlags
	Email string `arg:"" help:"The address, or the sub."`
}

// Help is shown by sealpost user export --help.
func (userExport) Help() string {
	return `Prints the file that people get themselves on the account page: profile, live sessions, applications, and every
event of the audit log. It is JSON, with or without --json, and personal data.

  sealpost user export ada@example.com --config sealpost.yaml > ada.json`
}

// Run prints the export of a person.
func (c userExport) Run(p *process) error {
	addr, err := readAddress(c.Email)
	if err != nil {
		return err
	}
	return c.withStore(p, func(s Settings, db store) error {
		u, err := findUser(p, db, addr)
		if err != nil {
			return err
		}
		clients := provider.Describer(provider.Config{
			Issuer: s.Issuer, Clients: s.fixedClients(), ClientDocuments: s.Registration.ClientIDMetadata == "on", Store: db, Now: p.now,
		})
		file, err := login.Export(p.ctx, login.Config{Issuer: s.Issuer, Accounts: db, Client: clients}, u, p.now())
		if err != nil {
			return err
		}
		_, err = p.stdout.Write(file)
		return err
	})
}

type userDelete struct {
	userFlags
	Email string `arg:"" help:"The address, or the sub."`
	Yes   bool   `help:"Do not ask."`
}

// Help is shown by sealpost user delete --help.
func (userDelete) Help() string {
	return `Does what "Delete account" on the account page does: sessions end, and applications that want to hear of it do
(back-channel logout, sent by the running server); consents, refresh tokens, links under way and the person go. Events
of the audit log stay, by the sub. Who signs in with the address later is somebody new, with another sub. To keep
someone out, disable them instead. It asks first.

  sealpost user delete ada@example.com --config sealpost.yaml
  sealpost user delete ada@example.com --config sealpost.yaml --yes --json`
}

// Run deletes a person.
func (c userDelete) Run(p *process) error {
	return c.withUser(p, c.Email, func(db store, u storage.User) error {
		sessions, err := db.SessionsOf(p.ctx, u.ID, p.now())
		if err != nil {
			return fmt.Errorf("list sessions: %w", err)
		}
		apps, err := db.Apps(p.ctx, u.ID, p.now())
		if err != nil {
			return fmt.Errorf("list apps: %w", err)
		}
		what := fmt.Sprintf("%s (sub %s), with %s and %s", u.Email, u.ID, counted(len(sessions), "session"), counted(len(apps), "application"))
		if err := p.confirm(c.Yes, "Delete "+what+", for good?"); err != nil {
			return err
		}
		err = db.DeleteUser(p.ctx, u.ID, p.now())
		if err != nil && !errors.Is(err, storage.ErrNotFound) { // somebody else was faster
			return fmt.Errorf("delete user: %w", err)
		}
		if c.JSON {
			return c.printJSON(p, map[string]any{"deleted": u.Email, "sub": u.ID, "sessions": len(sessions), "applications": len(apps)})
		}
		_, err = fmt.Fprintln(p.stdout, "deleted", what)
		return err
	})
}

func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

type userList struct{ userFlags }

// Run lists everyone.
func (c userList) Run(p *process) error {
	return c.withStore(p, func(_ Settings, db store) error {
		users, err := db.Users(p.ctx)
		if err != nil {
			return fmt.Errorf("list users: %w", err)
		}
		if !c.JSON {
			return printUsers(p.stdout, users)
		}
		all := []shownUser{}
		for _, u := range users {
			all = append(all, shownAs(u))
		}
		return c.printJSON(p, all)
	})
}

type userShow struct {
	userFlags
	Email string `arg:"" help:"The address, or the sub."`
}

// Run shows one person.
func (c userShow) Run(p *process) error {
	return c.withUser(p, c.Email, func(_ store, u storage.User) error { return c.print(p, u) })
}

type userGroups struct {
	userFlags
	Email string   `arg:"" help:"The address, or the sub."`
	Group []string `placeholder:"GROUP" help:"A group the person is in. Repeat for several; none at all takes them out of every group."`
}

// Run replaces the groups of a person.
func (c userGroups) Run(p *process) error {
	return c.withUser(p, c.Email, func(db store, u storage.User) error {
		if err := db.SetGroups(p.ctx, u.ID, sorted(c.Group), p.now()); err != nil {
			return fmt.Errorf("set groups: %w", err)
		}
		return c.again(p, db, u.Key)
	})
}

type userDisable struct {
	userFlags
	Email string `arg:"" help:"The address, or the sub."`
}

// Run keeps a person out.
func (c userDisable) Run(p *process) error {
	return c.withUser(p, c.Email, func(db store, u storage.User) error {
		if err := db.DisableUser(p.ctx, u.ID, p.now()); err != nil {
			return fmt.Errorf("disable user: %w", err)
		}
		return c.again(p, db, u.Key)
	})
}

type userEnable struct {
	userFlags
	Email string `arg:"" help:"The address, or the sub."`
}

// Run lets a person in again.
func (c userEnable) Run(p *process) error {
	return c.withUser(p, c.Email, func(db store, u storage.User) error {
		if err := db.EnableUser(p.ctx, u.ID, p.now()); err != nil {
			return fmt.Errorf("enable user: %w", err)
		}
		return c.again(p, db, u.Key)
	})
}
