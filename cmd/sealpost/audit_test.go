package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/provider"
	"github.com/sealpost/sealpost/storage"
)

// opened is a database of an engine with its schema.
func opened(t *testing.T, engine string) store {
	t.Helper()
	s := settingsOf(t, engine)
	db, err := openMigrated(t.Context(), &s, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// outage is a store whose events cannot be read at times.
type outage struct {
	store
	mu  sync.RWMutex
	now bool
}

// set begins or ends the outage, once no read is under way.
func (o *outage) set(now bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now = now
}

func (o *outage) Events(ctx context.Context, f storage.EventFilter) ([]storage.Event, error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.now {
		return nil, errors.New("not now")
	}
	return o.store.Events(ctx, f)
}

// TestFollow: what comes is printed once and in order, of whatever number it is,
// and nothing of before.
func TestFollow(t *testing.T) {
	for engine := range engines {
		t.Run(engine, func(t *testing.T) {
			now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
			db := &outage{store: opened(t, engine)}
			added := 0
			add := func(n int) (want []string) {
				for range n {
					added++
					id := fmt.Sprintf("client%03d", added)
					if err := db.AddClient(t.Context(), storage.Client{ID: id, CreatedAt: now, UpdatedAt: now}); err != nil {
						t.Fatal(err)
					}
					want = append(want, id)
				}
				return want
			}
			add(150)
			ctx, stop := context.WithCancel(t.Context())
			ticks, printed, ended := make(chan time.Time), make(chan string, 1000), make(chan error, 1)
			print := func(e *storage.Event) error {
				if e == nil {
					printed <- "begin"
				} else {
					printed <- e.ClientID
				}
				return nil
			}
			down := func(err error) { printed <- fmt.Sprint(err) }
			go func() {
				ended <- follow(ctx, db, storage.EventFilter{Name: storage.EventClientAdded}, ticks, print, down)
			}()
			if have := <-printed; have != "begin" {
				t.Errorf("have %q of before", have)
			}
			for _, n := range []int{1, 0, 3, 100, 250, 0, 1} {
				db.set(n > 1)
				want := add(n)
				if err := db.SaveClient(t.Context(), storage.Client{ID: "client001", UpdatedAt: now}, storage.Client{UpdatedAt: now}); err != nil { // of another name
					t.Fatal(err)
				}
				if n > 1 {
					for range 3 {
						ticks <- now
					}
					db.set(false)
					want = append([]string{"not now", "<nil>"}, want...)
				}
				ticks <- now
				for _, id := range want {
					if have := <-printed; have != id {
						t.Fatalf("of %d: have %q, want %q", n, have, id)
					}
				}
			}
			ticks <- now
			stop()
			if err := <-ended; ctx.Err() == nil || err == nil {
				t.Errorf("ended with %v", err)
			}
			if len(printed) > 0 {
				t.Errorf("have %q, too", <-printed)
			}
		})
	}
}

// TestFollowCommand follows as an operator does, beside a server.
func TestFollowCommand(t *testing.T) {
	s := settingsOf(t, "sqlite")
	environ := []string{"SEALPOST_DATABASE=" + string(s.Database)}
	command := func(args ...string) int {
		return run(t.Context(), args, environ, strings.NewReader(""), io.Discard, io.Discard)
	}
	if code := command("migrate", "up"); code != exitOK {
		t.Fatalf("migrate up: %d", code)
	}
	ctx, stop := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"audit", "follow"}, environ, strings.NewReader(""), in, io.Discard)
		in.Close()
	}()
	lines := bufio.NewScanner(out)
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "TIME ") {
		t.Fatalf("have %q", lines.Text())
	}
	if code := command("client", "add", "app", "--public", "--redirect-uri", "https://app.example.com/callback"); code != exitOK {
		t.Fatalf("client add: %d", code)
	}
	if !lines.Scan() || strings.Join(strings.Fields(lines.Text())[1:], " ") != "client.added operator - app - -" {
		t.Errorf("have %q", lines.Text())
	}
	stop()
	if code := <-ended; code != exitOK {
		t.Errorf("it ended with %d", code)
	}
}

// An event is one line of JSON when followed, and cannot move the cursor.
func TestPrintedEvents(t *testing.T) {
	e := storage.Event{Seq: 7, At: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), Name: storage.EventUserGroups, Actor: "operator", UserID: "user", Network: "192.0.2.0/24", Detail: "a\x1b[2J\n<b>"}
	var text, lines bytes.Buffer
	if err := (auditFollow{}).printer(&text)(&e); err != nil {
		t.Fatal(err)
	}
	if want := "2026-01-02T03:04:05Z user.groups operator user - 192.0.2.0/24 a\uFFFD[2J\uFFFD<b>\n"; strings.Join(strings.Fields(text.String()), " ")+"\n" != want {
		t.Errorf("have %q, want %q", text.String(), want)
	}
	print := (auditFollow{auditFlags{clientFlags: clientFlags{JSON: true}}}).printer(&lines)
	for _, e := range []*storage.Event{nil, &e} {
		if err := print(e); err != nil {
			t.Fatal(err)
		}
	}
	want := `{"seq":7,"at":"2026-01-02T03:04:05.000006Z","event":"user.groups","actor":"operator","user_id":"user","network":"192.0.2.0/24","detail":"a\u001b[2J\n<b>"}` + "\n"
	if lines.String() != want {
		t.Errorf("have %s, want %s", lines.String(), want)
	}
}

// Strangers name clients where registration is open: no name turns the line
// around that says where the client sends people.
func TestListedClients(t *testing.T) {
	s := settingsOf(t, "sqlite")
	db, err := openMigrated(t.Context(), &s, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	c := storage.Client{ID: "app", Name: "Intra\u202enet\x1b[2J", RedirectURIs: []string{"https://app.example.com/callback"}, CreatedAt: time.Now(), UpdatedAt: time.Now()}
	if err := db.AddClient(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	var out, problems safeBuffer
	if code := run(t.Context(), []string{"client", "list"}, []string{"SEALPOST_DATABASE=" + string(s.Database)}, nil, &out, &problems); code != exitOK {
		t.Fatalf("exit code %d: %s", code, problems.String())
	}
	if !strings.Contains(out.String(), "Intra\uFFFDnet\uFFFD[2J ") {
		t.Errorf("have %q", out.String())
	}
}

// TestClientsOwnEvents: what applications do about themselves is theirs.
func TestClientsOwnEvents(t *testing.T) {
	s := settingsOf(t, "sqlite")
	s.Registration.Dynamic = provider.RegistrationOpen
	in, _ := buildInstance(t, s, time.Now, nil)
	t.Cleanup(func() { in.close() })
	ask := func(method, path, token, body string) (out map[string]any) {
		t.Helper()
		w := request(in, method, path, func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer "+token)
			r.Header.Set("Content-Type", "application/json")
			r.Body = io.NopCloser(strings.NewReader(body))
		})
		if w.Code >= 300 || method != "DELETE" && json.Unmarshal(w.Body.Bytes(), &out) != nil {
			t.Fatalf("%s: %d %s", method, w.Code, w.Body)
		}
		return out
	}
	r := ask("POST", "/register", "", `{"redirect_uris": ["https://rp.example.com/cb"]}`)
	token, path := r["registration_access_token"].(string), strings.TrimPrefix(r["registration_client_uri"].(string), s.Issuer)
	ask("PUT", path, token, fmt.Sprintf(`{"client_id": %q, "redirect_uris": ["https://rp.example.com/new"]}`, r["client_id"]))
	ask("DELETE", path, token, "")
	events, err := in.store.Events(t.Context(), storage.EventFilter{ClientID: r["client_id"].(string)})
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, e := range events {
		have = append(have, string(e.Name)+" by "+e.Actor)
	}
	if want := "client.removed by client, client.changed by client, client.added by client"; strings.Join(have, ", ") != want {
		t.Errorf("have %q, want %q", have, want)
	}
}

// TestUpkeepOfEvents: events go after audit.keep, and with 0 never.
func TestUpkeepOfEvents(t *testing.T) {
	for _, c := range []struct {
		keep time.Duration
		want int
	}{{24 * time.Hour, 0}, {24*time.Hour + time.Microsecond, 1}, {0, 1}} {
		made := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		s := settingsOf(t, "sqlite")
		s.Audit.Keep = Duration(c.keep)
		in, _ := buildInstance(t, s, func() time.Time { return made.Add(24*time.Hour + time.Microsecond) }, nil)
		t.Cleanup(func() { in.close() })
		if err := in.store.AddUser(t.Context(), storage.User{ID: keys.ID(), Key: "ada@example.com", Email: "ada@example.com", CreatedAt: made, UpdatedAt: made}); err != nil {
			t.Fatal(err)
		}
		in.upkeep(t.Context())
		left, err := in.store.Events(t.Context(), storage.EventFilter{Name: storage.EventUserAdded})
		if err != nil || len(left) != c.want {
			t.Errorf("keep %s: %d events are left, want %d; %v", c.keep, len(left), c.want, err)
		}
	}
}

// Where more has expired than is swept in one go, the rest is not left for a minute.
func TestUpkeepOfMuch(t *testing.T) {
	in, _ := buildInstance(t, settingsOf(t, "sqlite"), time.Now, nil)
	t.Cleanup(func() { in.close() })
	sweep := func(rows int, trouble error) func() (int, error) {
		return func() (int, error) {
			n := min(rows, sweepBatch)
			rows -= n
			return n, trouble
		}
	}
	for _, c := range []struct {
		rows    int
		trouble error
		more    bool
	}{{0, nil, false}, {sweepBatch, nil, false}, {sweepBatchesMax*sweepBatch - 1, nil, false}, {sweepBatchesMax*sweepBatch + 1, nil, true}, {sweepBatchesMax*sweepBatch + 1, io.ErrUnexpectedEOF, false}} {
		if more := in.sweepBatches(t.Context(), sweep(c.rows, c.trouble)); more != c.more {
			t.Errorf("%d rows, %v: more is %v", c.rows, c.trouble, more)
		}
	}
	if in.upkeep(t.Context()) {
		t.Error("there are more in an empty database")
	}
}
