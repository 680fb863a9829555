package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sealpost/sealpost/storage"
)

type auditCommand struct {
	List   auditList   `cmd:"" help:"List what happened, the newest first."`
	Follow auditFollow `cmd:"" help:"Print what happens as it comes, until stopped."`
}

// Help is shown by sealpost audit --help.
func (auditCommand) Help() string {
	return `These commands read the audit log in the database, beside running servers. Every event and what it tells is in
docs/events.md. How long events are kept is the setting audit.keep. An event has the sub of a person; the table of list
shows the address instead, while there is one. --user finds a person by the address, or by the sub, gone or not.

  sealpost audit list --config sealpost.yaml --user ada@example.com --since 24h
  sealpost audit list --config sealpost.yaml --event code.replayed --json
  sealpost audit follow --config sealpost.yaml --json | your-log-shipper`
}

// auditFlags are the flags of every audit command.
type auditFlags struct {
	clientFlags
	User   string `placeholder:"ADDR|ID" help:"Only about this person: the address, or the sub."`
	Client string `placeholder:"ID" help:"Only about this application."`
	Event  string `placeholder:"NAME" help:"Only of this name, such as login or session.ended."`
}

// filter is what the flags ask for. Who is named by an address must be there; who
// is gone is still found by the sub.
func (f auditFlags) filter(p *process, db store) (storage.EventFilter, error) {
	filter := storage.EventFilter{UserID: f.User, ClientID: f.Client, Name: storage.EventName(f.Event)}
	if strings.Contains(f.User, "@") {
		addr, err := readAddress(f.User)
		if err != nil {
			return filter, err
		}
		u, err := findUser(p, db, addr)
		if err != nil {
			return filter, err
		}
		filter.UserID = u.ID
	}
	return filter, nil
}

// known refuses the name of an event that does not exist: nothing would be found,
// and nothing would be said.
func (f auditFlags) known() error {
	if names := storage.EventNames(); f.Event != "" && !slices.Contains(names, storage.EventName(f.Event)) {
		return usageError{fmt.Errorf("--event: %q: write one of %v", f.Event, names)}
	}
	return nil
}

// shownEvent is an event as the command line shows one.
type shownEvent struct {
	Seq       int64             `json:"seq"`
	At        string            `json:"at"`
	Event     storage.EventName `json:"event"`
	Actor     string            `json:"actor,omitempty"`
	UserID    string            `json:"user_id,omitempty"`
	ClientID  string            `json:"client_id,omitempty"`
	SessionID string            `json:"session_id,omitempty"`
	Agent     string            `json:"agent,omitempty"`
	Network   string            `json:"network,omitempty"`
	Detail    string            `json:"detail,omitempty"`
}

func eventAs(e storage.Event) shownEvent {
	return shownEvent{
		Seq: e.Seq, At: e.At.UTC().Format(time.RFC3339Nano), Event: e.Name, Actor: e.Actor, UserID: e.UserID, ClientID: e.ClientID, SessionID: e.SessionID,
		Agent: e.Agent, Network: e.Network, Detail: e.Detail,
	}
}

// columns of an event, of which none is empty. A person is named by the address
// when it is among addresses, else by the sub.
func columns(e storage.Event, addresses map[string]string) []any {
	who := cmp.Or(addresses[e.UserID], e.UserID)
	all := []any{stamp(e.At), string(e.Name)}
	for _, text := range []string{e.Actor, who, e.ClientID, cameFrom(e.Agent, e.Network), e.Detail} {
		if text == "" {
			text = "-"
		}
		all = append(all, printable(text))
	}
	return all
}

// cameFrom is what a browser is called and where it is, as far as that is known.
func cameFrom(agent, network string) string {
	return strings.Trim(agent+", "+network, ", ")
}

var eventHeader = []any{"TIME", "EVENT", "BY", "USER", "CLIENT", "FROM", "DETAIL"}

type auditList struct {
	auditFlags
	Since  string `placeholder:"TIME" help:"Only from this time on: RFC 3339, or how long ago, such as 24h."`
	Limit  int    `default:"100" placeholder:"N" help:"How many at most; 100 when left out."`
	Before int64  `placeholder:"SEQ" help:"Go on where a list before ended, as it said."`
}

// Run lists events.
func (c auditList) Run(p *process) error {
	since, err := readSince(c.Since, p.now())
	err = errors.Join(err, c.known())
	if err = errors.Join(err, checkLimit(c.Limit)); err != nil {
		return err
	}
	return c.withStore(p, func(_ Settings, db store) error {
		filter, err := c.filter(p, db)
		if err != nil {
			return err
		}
		filter.Since, filter.Limit, filter.Before = since, c.Limit, c.Before
		events, err := db.Events(p.ctx, filter)
		if err != nil {
			return fmt.Errorf("list events: %w", err)
		}
		if n := len(events); n == c.Limit {
			defer fmt.Fprintf(p.stderr, "There may be more: --before=%d\n", events[n-1].Seq)
		}
		if !c.JSON {
			addresses, err := addressesOf(p, db, events)
			if err != nil {
				return err
			}
			table := newTable(p.stdout, eventHeader...)
			for _, e := range events {
				table.row(columns(e, addresses)...)
			}
			return table.flush()
		}
		all := []shownEvent{}
		for _, e := range events {
			all = append(all, eventAs(e))
		}
		return c.printJSON(p, all)
	})
}

// addressesOf are those of the people of events, by sub, as far as they are
// there.
func addressesOf(p *process, db store, events []storage.Event) (map[string]string, error) {
	addresses := map[string]string{}
	for _, e := range events {
		if e.UserID != "" {
			addresses[e.UserID] = ""
		}
	}
	users, err := db.UsersByID(p.ctx, slices.Collect(maps.Keys(addresses)))
	if err != nil {
		return nil, fmt.Errorf("find users: %w", err)
	}
	for _, u := range users {
		addresses[u.ID] = u.Email
	}
	return addresses, nil
}

// readSince reads a time, or how long ago it is; empty is the beginning.
func readSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	d, err := parseDuration(text)
	if err != nil || d < 0 {
		return time.Time{}, usageError{fmt.Errorf("--since: %q: write a duration such as 24h, or a time such as %s", text, stamp(now))}
	}
	return now.Add(-time.Duration(d)), nil
}

type auditFollow struct{ auditFlags }

// followEvery is how often the log is asked for what is new.
const followEvery = time.Second

// Run prints events as they come.
func (c auditFollow) Run(p *process) error {
	if err := c.known(); err != nil {
		return err
	}
	return c.withStore(p, func(_ Settings, db store) error {
		filter, err := c.filter(p, db)
		if err != nil {
			return err
		}
		t := time.NewTicker(followEvery)
		defer t.Stop()
		down := func(err error) {
			if err == nil {
				fmt.Fprintln(p.stderr, "sealpost: the database answers again; nothing was missed")
				return
			}
			fmt.Fprintf(p.stderr, "sealpost: follow events: %v; trying on\n", err)
		}
		if err := follow(p.ctx, db, filter, t.C, c.printer(p.stdout), down); err != nil && p.ctx.Err() == nil {
			return fmt.Errorf("follow events: %w", err)
		}
		return nil
	})
}

// printer prints one event on one line. With a first call without one it prints
// what stands above them.
func (c auditFollow) printer(w io.Writer) func(*storage.Event) error {
	if c.JSON {
		encode := json.NewEncoder(w)
		encode.SetEscapeHTML(false)
		return func(e *storage.Event) error {
			if e == nil {
				return nil
			}
			return encode.Encode(eventAs(*e))
		}
	}
	return func(e *storage.Event) error {
		values := eventHeader
		if e != nil {
			values = columns(*e, nil)
		}
		_, err := fmt.Fprintf(w, "%-20s  %-20s  %-8s  %-22s  %-22s  %-36s  %s\n", values...)
		return err
	}
}

// follow prints the events that come from now on, in the order of their Seq as
// far as it goes: of transactions at the same time the one with the higher Seq
// may end first. Nor are clocks asked, for those of replicas differ. So the newest
// page is read again each time, and what was not in it before is new. A database
// that has answered once is waited for: down is told why it does not, once, and
// nil when it does again.
func follow(ctx context.Context, db store, filter storage.EventFilter, ticks <-chan time.Time, print func(*storage.Event) error, down func(error)) error {
	name := filter.Name
	filter.Name = "" // compared here: the log has no order by name
	var seen map[int64]bool
	failing := false
	for {
		fresh, read, err := newest(ctx, db, filter, seen)
		switch {
		case err != nil && (seen == nil || ctx.Err() != nil):
			return err
		case err != nil && !failing:
			down(err)
		case err == nil && failing:
			down(nil)
		}
		if failing = err != nil; failing {
			read, err = seen, nil
		}
		if seen == nil {
			fresh = nil
			err = print(nil)
		}
		seen = read
		for _, e := range slices.Backward(fresh) {
			if err == nil && (name == "" || e.Name == name) {
				err = print(&e)
			}
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticks:
		}
	}
}

// newest reads the newest page of events and, as long as none of a page was seen,
// the one before it. Fresh are those that were not seen, the newest first; read
// are all. When seen is nil it is one page, and when it is empty it is all.
func newest(ctx context.Context, db store, filter storage.EventFilter, seen map[int64]bool) (fresh []storage.Event, read map[int64]bool, err error) {
	read = map[int64]bool{}
	for {
		page, err := db.Events(ctx, filter)
		if err != nil {
			return nil, nil, err
		}
		met := seen == nil || len(page) < filter.Most()
		for _, e := range page {
			read[e.Seq] = true
			if seen[e.Seq] {
				met = true
			} else {
				fresh = append(fresh, e)
			}
		}
		if met {
			return fresh, read, nil
		}
		filter.Before = page[len(page)-1].Seq
	}
}
