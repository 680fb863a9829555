package world

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// seen is what went by in a test: the secrets that must not be in a log, the
// requests that must, and what was promised.
type seen struct {
	issuer string

	mu       sync.Mutex
	secrets  map[string]string // what it is, by value
	requests []string          // X-Request-Id of each answer
	accepted map[string]int    // by address: how often the form was told that a link is on its way
	redeemed map[string]int    // by code: how often it gave tokens
}

func newSeen(issuer string) *seen {
	return &seen{issuer: issuer, secrets: map[string]string{}, accepted: map[string]int{}, redeemed: map[string]int{}}
}

func (s *seen) Secret(kind, value string) {
	if value == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets[value] = kind
}

// Names of parameters, and of members of JSON, whose values are secrets.
var secretNames = []string{
	"token", "request", "wait", "code", "state", "nonce", "code_verifier", "id_token_hint",
	"access_token", "refresh_token", "id_token", "client_secret",
}

func (s *seen) count(of map[string]int, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of[what]++
}

func (s *seen) values(v url.Values) {
	for _, name := range secretNames {
		for _, value := range v[name] {
			s.Secret(name, value)
		}
	}
}

// plainCookies are those whose values are words that anyone knows.
var plainCookies = []string{"sealpost-language", "sealpost-next"}

func (s *seen) cookie(name, value string) {
	if !slices.Contains(plainCookies, name) {
		s.Secret("cookie "+name, value)
	}
}

func (s *seen) cookies(all []*http.Cookie) {
	for _, c := range all {
		s.cookie(c.Name, c.Value)
	}
}

// witness is the network as the test sees it: everything passes, and what must
// not be in a log is remembered.
type witness struct {
	*seen
	next http.RoundTripper
}

// RoundTrip is http.RoundTripper.
func (w witness) RoundTrip(r *http.Request) (*http.Response, error) {
	w.values(r.URL.Query())
	w.cookies(r.Cookies())
	var form url.Values
	if r.Body != nil && MediaType(r.Header) == "application/x-www-form-urlencoded" {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		_ = r.Body.Close()
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
		if form, err = url.ParseQuery(string(body)); err == nil {
			w.values(form)
		}
	}
	answer, err := w.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	w.cookies(answer.Cookies())
	if to, err := answer.Location(); err == nil {
		w.values(to.Query())
		if form.Has("email") && to.Query().Has("wait") {
			w.count(w.accepted, form.Get("email"))
		}
	}
	if form.Has("code_verifier") && answer.StatusCode == http.StatusOK {
		w.count(w.redeemed, form.Get("code"))
	}
	if MediaType(answer.Header) == "application/json" {
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			return nil, err
		}
		_ = answer.Body.Close()
		answer.Body = io.NopCloser(bytes.NewReader(body))
		var members map[string]any
		if json.Unmarshal(body, &members) == nil {
			for _, name := range secretNames {
				if value, ok := members[name].(string); ok {
					w.Secret(name, value)
				}
			}
		}
	}
	if id := answer.Header.Get("X-Request-Id"); id != "" && r.URL.Scheme+"://"+r.URL.Host == w.issuer {
		w.mu.Lock()
		w.requests = append(w.requests, id)
		w.mu.Unlock()
	}
	return answer, nil
}

func MediaType(h http.Header) string {
	media, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return media
}

// checkLogs looks through the logs of all processes of a world when they have
// ended.
func checkLogs(t testing.TB, w *World) {
	t.Helper()
	w.Seen.mu.Lock()
	defer w.Seen.mu.Unlock()
	logged := map[string]int{} // lines by id of the request
	crashed := false
	for _, in := range w.instances {
		crashed = crashed || in.killed
		for line := range strings.Lines(in.Log.String()) {
			line = strings.TrimSuffix(line, "\n")
			for _, kind := range Leaks(w.Seen.secrets, line) {
				t.Errorf("%s in the log: %s", kind, line)
			}
			if in.cmd.ProcessState.ExitCode() > 0 && in.wanted {
				continue // a start that was to fail says why, to people
			}
			var r Record
			if err := json.Unmarshal([]byte(line), &r); err != nil || r.Text("time") == "" || r.Text("level") == "" || r.Text("msg") == "" {
				t.Errorf("not a line of the log: %s", line)
				continue
			}
			if r.Text("level") == "ERROR" && r.Text("msg") != "mail" && !w.Troubled { // of a mail server that the test has stopped
				t.Errorf("something failed: %s", line)
			}
			if r.Text("msg") != "request" {
				continue
			}
			logged[r.Text("id")]++
			for _, key := range []string{"id", "method", "route", "status", "duration_ms"} {
				if r.Text(key) == "" {
					t.Errorf("no %s: %s", key, line)
				}
			}
		}
	}
	if len(logged) == 0 {
		t.Error("no request is in the log")
	}
	for id, n := range logged {
		if n != 1 {
			t.Errorf("%d lines for request %s", n, id)
		}
	}
	for _, id := range w.Seen.requests {
		if logged[id] == 0 && !crashed { // a crash may come between answer and line
			t.Errorf("no line for request %s", id)
		}
	}
	if t.Failed() {
		for _, in := range w.instances {
			t.Logf("%s\n%s%s", in.cmd, in.out, in.Log)
		}
	}
}

// timestamp is what every line starts with: digits that are no code.
var timestamp = regexp.MustCompile(`"time":"[^"]*"`)

// Leaks names the secrets in a line.
func Leaks(secrets map[string]string, line string) []string {
	line = timestamp.ReplaceAllString(line, "")
	words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(`":,{}= `, r) })
	var out []string
	for value, kind := range secrets {
		// A code is six digits, which may be a part of anything.
		if len(value) < 12 && slices.Contains(words, value) || len(value) >= 12 && strings.Contains(line, value) {
			out = append(out, kind)
		}
	}
	slices.Sort(out)
	return out
}
