//go:build integration

package integration

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// wire is what went between the provider and everyone else: the secrets that
// must not be in its log.
type wire struct {
	mu      sync.Mutex
	secrets map[string]string // what it is, by value
}

func newWire() *wire { return &wire{secrets: map[string]string{}} }

// Names of parameters, and of members of JSON, whose values are secrets.
var secretNames = []string{
	"token", "request", "request_uri", "wait", "code", "state", "nonce", "code_verifier", "email",
	"client_secret", "client_assertion", "id_token_hint", "logout_token",
	"access_token", "refresh_token", "id_token", "registration_access_token",
}

func (w *wire) secret(kind, value string) {
	if len(value) < 12 { // may be a part of anything
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secrets[value] = kind
}

func (w *wire) values(v url.Values) {
	for _, name := range secretNames {
		for _, value := range v[name] {
			w.secret(name, value)
		}
	}
}

// RoundTrip is http.RoundTripper.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.values(r.URL.Query())
	for _, c := range r.Cookies() {
		w.secret("cookie "+c.Name, c.Value)
	}
	w.secret("DPoP proof", r.Header.Get("DPoP"))
	if _, credentials, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok {
		w.secret("credentials", credentials)
	}
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		w.body(r.Header, body)
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	for _, c := range answer.Cookies() {
		w.secret("cookie "+c.Name, c.Value)
	}
	if to, err := answer.Location(); err == nil {
		w.values(to.Query())
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	_ = answer.Body.Close()
	answer.Body = io.NopCloser(bytes.NewReader(body))
	w.body(answer.Header, body)
	return answer, nil
}

func (w *wire) body(h http.Header, body []byte) {
	switch media, _, _ := mime.ParseMediaType(h.Get("Content-Type")); media {
	case "application/x-www-form-urlencoded":
		if form, err := url.ParseQuery(string(body)); err == nil {
			w.values(form)
		}
	case "application/json":
		var members map[string]any
		if json.Unmarshal(body, &members) != nil {
			return
		}
		for _, name := range secretNames {
			if value, ok := members[name].(string); ok {
				w.secret(name, value)
			}
		}
	}
}

// checkLog wants nothing but JSON in the log of the provider, no failure, and
// none of the secrets.
func checkLog(t testing.TB, provider *process, w *wire) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for line := range strings.Lines(provider.out.String()) {
		for value, kind := range w.secrets {
			if strings.Contains(line, value) {
				t.Errorf("%s in the log: %s", kind, line)
			}
		}
		var record struct{ Level string }
		if err := json.Unmarshal([]byte(line), &record); err != nil || record.Level == "" || record.Level == "ERROR" {
			t.Errorf("something failed: %s", line)
		}
	}
}
