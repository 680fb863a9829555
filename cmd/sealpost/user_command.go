package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/login"
	"github.com/sealpost/sealpost/storage"
)

type userCommand struct {
	Add     userAdd     `cmd:"" help:"Invite someone: with login.signup invite, only those who were may sign in."`
	List    userList    `cmd:"" help:"List everyone who signed in or was invited."`
	Show    userShow    `cmd:"" help:"Show one person."`
	Groups  userGroups  `cmd:"" help:"Say which groups a person is in, in place of those before."`
	Disable userDisable `cmd:"" help:"Keep someone out; sessions and tokens end at once."`
	Enable  userEnable  `cmd:"" help:"Let someone who was disabled sign in again."`
}

// Help is shown by sealpost user --help.
func (userCommand) Help() string {
	return `These commands work on the database, beside a running server. A person is named by the address.

  sealpost user add ada@example.com --config sealpost.yaml --name "Ada Lovelace" --group staff
  sealpost user groups ada@example.com --config sealpost.yaml --group staff --group ops
  sealpost user disable ada@example.com --config sealpost.yaml
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

// withUser finds a person by address and does something to them.
func (f userFlags) withUser(p *process, email string, do func(db store, u storage.User) error) error {
	addr, err := readAddress(email)
	if err != nil {
		return err
	}
	return f.withStore(p, func(_ Settings, db store) error {
		u, err := findUser(p, db, addr)
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
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "EMAIL\tNAME\tGROUPS\tLAST_LOGIN\tSTATE")
	for _, u := range users {
		state, last := "active", "never"
		if !u.DisabledAt.IsZero() {
			state = "disabled"
		}
		if !u.LastLoginAt.IsZero() {
			last = u.LastLoginAt.UTC().Format(time.DateTime)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", u.Email, u.Name, strings.Join(u.Groups, " "), last, state)
	}
	return table.Flush()
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
	return c.withStore(p, func(_ Settings, db store) error {
		u := storage.User{ID: keys.ID(), Key: addr.Key, Email: addr.Delivery, Name: c.Name, Groups: sorted(c.Group), CreatedAt: p.now(), UpdatedAt: p.now()}
		err := db.AddUser(p.ctx, u)
		if errors.Is(err, storage.ErrConflict) {
			return fmt.Errorf("user %s exists already; see: sealpost user show %s", c.Email, c.Email)
		}
		if err != nil {
			return fmt.Errorf("add user: %w", err)
		}
		return c.again(p, db, addr.Key)
	})
}

// sorted gives groups in order, each once.
func sorted(groups []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(groups)))
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
	Email string `arg:"" help:"The address."`
}

// Run shows one person.
func (c userShow) Run(p *process) error {
	return c.withUser(p, c.Email, func(_ store, u storage.User) error { return c.print(p, u) })
}

type userGroups struct {
	userFlags
	Email string   `arg:"" help:"The address."`
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
	Email string `arg:"" help:"The address."`
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
	Email string `arg:"" help:"The address."`
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
