// Package invariants looks at all that a store holds, and at what the world
// outside was told, and says what cannot be true: what a crash, an answer that
// was lost or a race has left wrong.
//
// It is for the stores of tests: of scenarios that are over within a day, so
// that nothing was swept.
package invariants

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"
)

// Told is what is known outside of the store.
type Told struct {
	Clients  []string       // those of the settings
	Accepted map[string]int // by address: how often it was promised a link
	Taken    map[string]int // by the id of a mail: how often the mail server took it
	Redeemed map[string]int // by code: how often it gave tokens
	// Twice are mails that may have come twice: the record of the first was
	// lost, the one case that SMTP leaves open.
	Twice []string
	// Waiting says that mails may wait still, or their record may: nobody saw to
	// it that all were sent.
	Waiting bool
}

// rule is a query whose rows, one text each, name what breaks it. Both engines
// take all of them.
type rule struct{ name, query string }

const (
	waits       = "a mail waits"
	noClient    = "a grant is no client's"
	lost        = "a request that was accepted is lost"
	doubled     = "a mail came twice"
	unsent      = "a mail was recorded as sent and never came"
	unrecorded  = "a mail came and was not recorded as sent"
	unasked     = "a mail came that nobody asked for"
	redeemed    = "a code gave tokens twice"
	loginEvents = `(SELECT count(*) FROM events e WHERE e.name = 'login' AND e.session_id = s.id)`
)

var rules = []rule{
	{"an attempt ended in two ways", `SELECT id FROM attempts WHERE
		CASE WHEN used_at IS NULL THEN 0 ELSE 1 END + CASE WHEN superseded_at IS NULL THEN 0 ELSE 1 END + CASE WHEN cancelled_at IS NULL THEN 0 ELSE 1 END > 1`},
	{"an attempt was used and gave no session", `SELECT id FROM attempts WHERE (used_at IS NULL) <> (session_id = '')`},
	{"a link was used twice", `SELECT s.id FROM sessions s WHERE ` + loginEvents + ` >
		(SELECT count(*) FROM attempts a WHERE a.session_id = s.id AND a.purpose <> 'address')`},
	{"a session is of no login", `SELECT s.id FROM sessions s WHERE ` + loginEvents + ` = 0`},
	{"a session is of no user", `SELECT id FROM sessions WHERE user_id NOT IN (SELECT id FROM users)`},
	{"a session is not of whom the link was for", `SELECT s.id FROM attempts a JOIN sessions s ON s.id = a.session_id JOIN users u ON u.id = s.user_id
		WHERE a.purpose <> 'address' AND a.key <> u.key
			AND NOT EXISTS (SELECT 1 FROM events e WHERE e.name = 'user.address-changed' AND e.user_id = u.id)`},
	{"a session ended and its grant did not", `SELECT g.id FROM sessions s JOIN grants g ON g.session_id = s.id
		WHERE s.ended_at IS NOT NULL AND NOT g.offline AND g.revoked_at IS NULL`},
	{"a session ended and its client was not told", `SELECT s.id FROM sessions s JOIN session_clients c ON c.session_id = s.id
		WHERE s.ended_at IS NOT NULL AND c.notify
			AND NOT EXISTS (SELECT 1 FROM logout_notices n WHERE n.session_id = s.id AND n.client_id = c.client_id)`},
	{"a grant is of no user", `SELECT id FROM grants WHERE user_id NOT IN (SELECT id FROM users)`},
	{noClient, `SELECT DISTINCT client_id FROM grants WHERE client_id NOT IN (SELECT id FROM clients)`},
	{"a grant is another user's than its session", `SELECT g.id FROM grants g JOIN sessions s ON s.id = g.session_id WHERE s.user_id <> g.user_id`},
	{"a grant is of no login", `SELECT g.id FROM grants g WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.name = 'login' AND e.session_id = g.session_id)`},
	{"a session does not know whom it signed in to", `SELECT g.id FROM grants g JOIN sessions s ON s.id = g.session_id
		WHERE g.revoked_at IS NULL AND NOT EXISTS (SELECT 1 FROM session_clients c WHERE c.session_id = g.session_id AND c.client_id = g.client_id)`},
	{"a refresh family has no one token that is good", `SELECT id FROM grants WHERE (refresh > 1) <> (refreshed_at IS NOT NULL)
		OR refresh > 0 AND (refresh_idle_at IS NULL OR refresh_ends_at IS NULL OR refresh_idle_at > refresh_ends_at)`},
	{"a replay left its grant live", `SELECT e.session_id FROM events e
		WHERE e.name IN ('code.replayed', 'refresh.replayed') AND e.user_id IN (SELECT id FROM users)
			AND NOT EXISTS (SELECT 1 FROM events r WHERE r.name = 'client.removed' AND r.client_id = e.client_id)
		GROUP BY e.user_id, e.client_id, e.session_id
		HAVING count(*) > (SELECT count(*) FROM grants g
			WHERE g.user_id = e.user_id AND g.client_id = e.client_id AND g.session_id = e.session_id AND g.revoked_at IS NOT NULL)`},
	{"a device got tokens that nobody allowed", `SELECT d.id FROM devices d WHERE d.used_at IS NOT NULL AND (d.allowed_at IS NULL
		OR NOT EXISTS (SELECT 1 FROM grants g WHERE g.client_id = d.client_id AND g.user_id = d.user_id AND g.session_id = d.session_id))`},
	{"an attempt has no mail", `SELECT id FROM attempts WHERE id NOT IN (SELECT attempt_id FROM mail)`},
	{"a mail is for no attempt", `SELECT id FROM mail WHERE attempt_id NOT IN (SELECT id FROM attempts)`},
	{"a mail ended and was never tried", `SELECT id FROM mail WHERE state IN ('sent', 'refused', 'failed') AND tries = 0`},
	{"a mail failed and its link's page does not say so", `SELECT m.id FROM mail m JOIN attempts a ON a.id = m.attempt_id
		WHERE m.state = 'failed' AND a.undelivered_at IS NULL`},
	{waits, `SELECT id FROM mail WHERE state = 'queued'`},
}

// Hold checks the database of a setting: sqlite:FILE or postgres://…. Whoever
// serves from it should have stopped.
func Hold(t testing.TB, database string, told Told) {
	t.Helper()
	broken, err := Broken(context.WithoutCancel(t.Context()), database, told)
	if err != nil {
		t.Fatalf("invariants: %v", err)
	}
	for _, what := range broken {
		t.Errorf("invariant: %s", what)
	}
}

// Broken gives what is wrong, "rule: what breaks it".
func Broken(ctx context.Context, database string, told Told) (broken []string, err error) {
	db, err := open(database)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return brokenIn(ctx, db, told)
}

// Recorded says whether the mail of an id is recorded as sent.
func Recorded(ctx context.Context, database, id string) (recorded bool, err error) {
	db, err := open(database)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	found, err := texts(ctx, db, `SELECT id FROM mail WHERE id = $1 AND state = 'sent'`, id)
	return len(found) == 1, err
}

// querier is a database, or a transaction of one.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func brokenIn(ctx context.Context, db querier, told Told) (broken []string, err error) {
	add := func(rule string, offenders ...string) {
		for _, o := range offenders {
			broken = append(broken, rule+": "+o)
		}
	}
	for _, r := range rules {
		if r.name == waits && told.Waiting {
			continue
		}
		offenders, err := texts(ctx, db, r.query)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.name, err)
		}
		if r.name == noClient {
			offenders = slices.DeleteFunc(offenders, func(id string) bool { return slices.Contains(told.Clients, id) })
		}
		add(r.name, offenders...)
	}

	for address, n := range told.Accepted {
		found, err := texts(ctx, db, `SELECT id FROM attempts WHERE email = $1`, address)
		if err != nil {
			return nil, err
		}
		if len(found) < n {
			add(lost, fmt.Sprintf("%d of %d to %s", n-len(found), n, address))
		}
	}
	sent, err := texts(ctx, db, `SELECT id FROM mail WHERE state = 'sent'`)
	if err != nil {
		return nil, err
	}
	queued, err := texts(ctx, db, `SELECT id FROM mail WHERE state <> 'sent'`)
	if err != nil {
		return nil, err
	}
	for _, id := range sent {
		if told.Taken[id] == 0 {
			add(unsent, id)
		}
	}
	for id, n := range told.Taken {
		switch {
		case slices.Contains(queued, id):
			if !told.Waiting {
				add(unrecorded, id)
			}
		case !slices.Contains(sent, id):
			add(unasked, id)
		case n > 2, n == 2 && !slices.Contains(told.Twice, id):
			add(doubled, id)
		}
	}
	for code, n := range told.Redeemed {
		if n > 1 {
			add(redeemed, code)
		}
	}
	return broken, nil
}

func open(database string) (*sql.DB, error) {
	file, ok := strings.CutPrefix(database, "sqlite:")
	if !ok {
		return sql.Open("pgx", database)
	}
	name := url.URL{Scheme: "file", Path: file, RawQuery: url.Values{"mode": {"rw"}, "_busy_timeout": {"10000"}}.Encode()}
	return sql.Open("sqlite", name.String())
}

// texts gives the rows of a query of one column.
func texts(ctx context.Context, db querier, query string, args ...any) (all []string, err error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}
