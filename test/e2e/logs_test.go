package e2e

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

// seen is what went by in a test: the secrets that must not be in a log, and
// the requests that must.
type seen struct {
	issuer string

	mu       sync.Mutex
	secrets  map[string]string // what it is, by value
	requests []string          // X-Request-Id of each answer
}

func newSeen(issuer string) *seen { return &seen{issuer: issuer, secrets: map[string]string{}} }

func (s *seen) secret(kind, value string) {
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

func (s *seen) values(v url.Values) {
	for _, name := range secretNames {
		for _, value := range v[name] {
			s.secret(name, value)
		}
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
	for _, c := range r.Cookies() {
		w.secret("cookie "+c.Name, c.Value)
	}
	if r.Body != nil && mediaType(r.Header) == "application/x-www-form-urlencoded" {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		_ = r.Body.Close()
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
		if form, err := url.ParseQuery(string(body)); err == nil {
			w.values(form)
		}
	}
	answer, err := w.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	for _, c := range answer.Cookies() {
		w.secret("cookie "+c.Name, c.Value)
	}
	if to, err := answer.Location(); err == nil {
		w.values(to.Query())
	}
	if mediaType(answer.Header) == "application/json" {
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
					w.secret(name, value)
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

func mediaType(h http.Header) string {
	media, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return media
}

// checkLogs looks through the logs of all processes of a world when they have
// ended.
func checkLogs(t testing.TB, w *world) {
	t.Helper()
	w.seen.mu.Lock()
	defer w.seen.mu.Unlock()
	logged := map[string]int{} // lines by id of the request
	crashed := false
	for _, in := range w.instances {
		crashed = crashed || in.killed
		for line := range strings.Lines(in.log.String()) {
			line = strings.TrimSuffix(line, "\n")
			for _, kind := range leaks(w.seen.secrets, line) {
				t.Errorf("%s in the log: %s", kind, line)
			}
			if in.cmd.ProcessState.ExitCode() > 0 && in.wanted {
				continue // a start that was to fail says why, to people
			}
			var r record
			if err := json.Unmarshal([]byte(line), &r); err != nil || r.text("time") == "" || r.text("level") == "" || r.text("msg") == "" {
				t.Errorf("not a line of the log: %s", line)
				continue
			}
			if r.text("level") == "ERROR" && r.text("msg") != "mail" { // of a mail server that the test has stopped
				t.Errorf("something failed: %s", line)
			}
			if r.text("msg") != "request" {
				continue
			}
			logged[r.text("id")]++
			for _, key := range []string{"id", "method", "route", "status", "duration_ms"} {
				if r.text(key) == "" {
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
	for _, id := range w.seen.requests {
		if logged[id] == 0 && !crashed { // a crash may come between answer and line
			t.Errorf("no line for request %s", id)
		}
	}
	if t.Failed() {
		for _, in := range w.instances {
			t.Logf("%s\n%s%s", in.cmd, in.out, in.log)
		}
	}
}

// timestamp is what every line starts with: digits that are no code.
var timestamp = regexp.MustCompile(`"time":"[^"]*"`)

// leaks names the secrets in a line.
func leaks(secrets map[string]string, line string) []string {
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

func TestLeaksAreFound(t *testing.T) {
	secrets := map[string]string{"q7oWZkT1xnmsjDq0GdyNAw": "token", "123456": "code", "ada-k3j9x2ab": "local part"}
	for line, want := range map[string]string{
		`{"time":"2026-11-25T01:38:48.123456Z","msg":"request","id":"a123456b","bytes":1234567}`:        "",
		`{"time":"2026-11-25T01:38:48Z","msg":"request","path":"/login?token=q7oWZkT1xnmsjDq0GdyNAw"}`:  "token",
		`{"time":"2026-11-25T01:38:48Z","msg":"wrong code 123456"}`:                                     "code",
		`{"time":"2026-11-25T01:38:48Z","msg":"mail","code":123456}`:                                    "code",
		`{"time":"2026-11-25T01:38:48Z","msg":"mail","error":"550 <ada-k3j9x2ab@example.com> unknown"}`: "local part",
	} {
		if got := strings.Join(leaks(secrets, line), ", "); got != want {
			t.Errorf("in %s there is %q, want %q", line, got, want)
		}
	}
}
