package login

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	account = "0123456789abcdef0123456789abcdef"
	token   = "tok_topsecret-1"
)

// api behaves as the API of Cloudflare's Email Service is documented.
type api struct {
	*httptest.Server
	answer func(w http.ResponseWriter, r *http.Request, n int) // nil: delivered

	mu    sync.Mutex
	mails []message
	conns int
}

// connections is how many were opened.
func (a *api) connections() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.conns
}

func newAPI(t testing.TB) *api {
	t.Helper()
	ca := newAuthority(t, "127.0.0.1")
	a := &api{}
	a.Server = httptest.NewUnstartedServer(a)
	a.Config.ErrorLog = log.New(io.Discard, "", 0)
	a.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			a.mu.Lock()
			a.conns++
			a.mu.Unlock()
		}
	}
	a.TLS = &tls.Config{Certificates: []tls.Certificate{ca.leaf}}
	a.EnableHTTP2 = true
	a.StartTLS()
	t.Cleanup(a.Close)
	roots := x509.NewCertPool()
	text, err := os.ReadFile(ca.file)
	if err != nil || !roots.AppendCertsFromPEM(text) {
		t.Fatal(err)
	}
	a.TLS.RootCAs = roots // for the client
	return a
}

// mailServer is where the API is, as the URL of a real one would have it.
func (a *api) mailServer(t testing.TB) MailServer {
	t.Helper()
	m := mailServer(t, "cloudflare://%s:%s", account, token)
	at := a.Listener.Addr().(*net.TCPAddr)
	m.host, m.port, m.tls.ServerName, m.tls.RootCAs = at.IP.String(), fmt.Sprint(at.Port), at.IP.String(), a.TLS.RootCAs
	return m
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var req struct {
		From       string
		Recipients []string
		Message    string `json:"mime_message"`
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	switch {
	case r.Method != http.MethodPost || r.URL.String() != "/client/v4/accounts/"+account+"/email/sending/send_raw":
		says(w, 404, failing(10000, "email.sending.error.not_found"))
	case r.Header.Get("Authorization") != "Bearer "+token:
		says(w, 401, failing(10101, "email.sending.error.authentication.unauthorized"))
	case r.Header.Get("Content-Type") != "application/json" || d.Decode(&req) != nil || len(req.Recipients) != 1:
		says(w, 400, failing(10001, "email.sending.error.invalid_request_schema"))
	default:
		a.mu.Lock()
		a.mails = append(a.mails, message{req.From, req.Recipients[0], []byte(req.Message)})
		n := len(a.mails)
		a.mu.Unlock()
		if a.answer != nil {
			a.answer(w, r, n)
			return
		}
		says(w, 200, succeeding("delivered", req.Recipients[0]))
	}
}

func (a *api) taken() []message {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.mails)
}

func says(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	io.WriteString(w, body)
}

func failing(code int, message string) string {
	return fmt.Sprintf(`{"success":false,"errors":[{"code":%d,"message":%q}],"messages":[],"result":null}`, code, message)
}

func succeeding(list, address string) string {
	result := map[string][]string{"delivered": {}, "permanent_bounces": {}, "queued": {}}
	result[list] = []string{address}
	text, err := json.Marshal(map[string]any{"success": true, "errors": []string{}, "messages": []string{}, "result": result})
	if err != nil {
		panic(err)
	}
	return string(text)
}

func TestCloudflareTakesTheBytesAsTheyAre(t *testing.T) {
	a := newAPI(t)
	l := a.mailServer(t).transport("example.com", nil)
	s, err := parseSender("Größe <login@example.com>")
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.write(hard())
	if err != nil {
		t.Fatal(err)
	}
	for range 60 { // more than an SMTP session takes
		if f := l.deliver(t.Context(), m); f != nil {
			t.Fatal(f)
		}
	}
	got := a.taken()
	if len(got) != 60 || a.connections() != 1 {
		t.Errorf("%d mails over %d connections", len(got), a.connections())
	}
	if last := got[59]; last.from != m.from || last.to != m.to || !bytes.Equal(last.raw, m.raw) {
		t.Errorf("%s %s\n%s", last.from, last.to, last.raw)
	}
	l.close()
	if f := l.deliver(t.Context(), m); f != nil || a.connections() != 2 {
		t.Errorf("%v over %d connections", f, a.connections())
	}
	l.close()
}

func TestCloudflareAnswersAreJudged(t *testing.T) {
	const ada = "ada@example.com"
	type fate string
	const taken, never, later, paused, operator, unknown fate = "taken", "never", "later", "paused", "operator", "unknown"
	for _, tt := range []struct {
		name   string
		status int
		body   string
		fate   fate
		detail string
	}{
		{"delivered", 200, succeeding("delivered", ada), taken, ""},
		{"queued", 200, succeeding("queued", ada), taken, ""},
		{"spelled another way", 200, succeeding("delivered", "ADA@example.com"), taken, ""},
		{"with an id alone", 200, `{"success":true,"result":{"message_id":"<x@y>"}}`, taken, ""},
		{"bounced", 200, succeeding("permanent_bounces", ada), never, "api 200 bounced"},
		{"suppressed, in a result", 200, succeeding("suppressed_recipients", ada), never, "api 200 suppressed"},
		{"suppressed, as an error", 400, failing(10204, "email.sending.error.email.recipient_suppressed"), never, "api 400 email.recipient_suppressed"},
		{"schema", 400, failing(10001, "email.sending.error.invalid_request_schema"), never, "api 400 invalid_request_schema"},
		{"too big", 400, failing(10200, "email.sending.error.email.too_big"), never, "api 400 email.too_big"},
		{"too big, by its other number", 400, failing(10202, "email.sending.error.email.too_big"), never, "api 400 email.too_big"},
		{"no length", 400, failing(10201, "email.sending.error.email.no_content_length"), never, "api 400 email.no_content_length"},
		{"invalid", 400, failing(10202, "email.sending.error.email.invalid"), never, "api 400 email.invalid"},
		{"unauthorized", 401, failing(10101, "email.sending.error.authentication.unauthorized"), operator, "api 401 authentication.unauthorized"},
		{"bad token type", 401, failing(10103, "email.sending.error.authentication.bad_token_type"), operator, "api 401 authentication.bad_token_type"},
		{"forbidden", 403, failing(10102, "email.sending.error.authentication.forbidden"), operator, "api 403 authentication.forbidden"},
		{"not entitled", 403, failing(10105, "email.sending.error.authentication.not_entitled"), operator, "api 403 authentication.not_entitled"},
		{"disabled", 403, failing(10203, "email.sending.error.email.sending_disabled"), operator, "api 403 email.sending_disabled"},
		{"not found", 404, failing(10000, "email.sending.error.not_found"), operator, "api 404 not_found"},
		{"throttled", 429, failing(10004, "email.sending.error.throttled"), paused, "api 429 throttled"},
		{"internal", 500, failing(10002, "email.sending.error.internal_server"), paused, "api 500 internal_server"},
		{"not implemented", 500, failing(10003, "email.sending.error.not_implemented"), paused, "api 500 not_implemented"},
		{"upstream", 503, failing(10100, "email.sending.error.authentication.upstream"), paused, "api 503 authentication.upstream"},

		{"success and failure at once", 200, failing(10002, "email.sending.error.internal_server"), paused, "api 200 internal_server"},
		{"an address in a message", 400, failing(7003, "no mail to ada@example.com"), never, "api 400 7003"},
		{"an address after the name", 400, failing(7003, "email.sending.error.x ada@example.com"), never, "api 400 7003"},
		{"the edge in trouble", 502, "<html>ada@example.com</html>", paused, "api 502"},
		{"a status of its own", 530, "error code: 1016", paused, "api 530"},
		{"nothing said", 403, "", operator, "api 403"},
		{"elsewhere", 302, "", paused, "api 302"},
		{"nothing listed", 200, `{"success":true,"errors":[],"messages":[],"result":{"delivered":[],"permanent_bounces":[],"queued":[]}}`, unknown, "dot"},
		{"no result", 200, `{"success":true,"result":null}`, unknown, "dot"},
		{"no JSON", 200, "<html>ok</html>", unknown, "dot"},
		{"half of it", 200, succeeding("delivered", ada)[:40], unknown, "dot"},
		{"another type", 200, `{"success":"yes"}`, unknown, "dot"},
		{"without end", 200, `{"success":true,"x":"` + strings.Repeat("x", 2*maxAnswer), unknown, "dot"},
	} {
		a := newAPI(t)
		a.answer = func(w http.ResponseWriter, _ *http.Request, _ int) {
			w.Header().Set("Location", "/elsewhere")
			says(w, tt.status, tt.body)
		}
		l := a.mailServer(t).transport("example.com", nil)
		f := l.deliver(t.Context(), letterOf(ada))
		l.close()
		if len(a.taken()) != 1 {
			t.Errorf("%s: %d requests", tt.name, len(a.taken()))
		}
		if f == nil {
			if tt.fate != taken {
				t.Errorf("%s: taken", tt.name)
			}
			continue
		}
		is := map[fate]bool{
			never: f.permanent(), operator: f.ofServer() && f.ofSettings(), paused: f.ofServer() && !f.ofSettings(), unknown: f.ambiguous(),
		}
		for fate, so := range is {
			if so != (fate == tt.fate) {
				t.Errorf("%s: %s is %t: %v", tt.name, fate, so, f)
			}
		}
		if f.detail() != tt.detail {
			t.Errorf("%s: %s, want %s", tt.name, f.detail(), tt.detail)
		}
		if said := f.Error() + f.cause() + f.detail(); strings.Contains(said, "@") || strings.Contains(said, token) || strings.Contains(said, account) {
			t.Errorf("%s: tells too much: %s", tt.name, said)
		}
	}
}

func TestRetryAfterOfRFC9110(t *testing.T) {
	const now = "Tue, 04 Mar 2031 05:06:07 GMT"
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "120": 2 * time.Minute, "-1": 0, "1.5": 0, "soon": 0, "99999999999999999999": 0,
		"Tue, 04 Mar 2031 05:07:07 GMT": time.Minute, "Tue, 04 Mar 2031 05:05:07 GMT": 0,
	} {
		f := judge(429, http.Header{"Retry-After": {value}, "Date": {now}}, nil)
		if f == nil || f.after != want {
			t.Errorf("%q: %+v", value, f)
		}
	}
	if f := judge(503, http.Header{"Retry-After": {"Tue, 04 Mar 2031 05:07:07 GMT"}}, nil); f == nil || f.after != 0 {
		t.Errorf("without a date: %+v", f)
	}
}

func TestNetworkTroubleOfAnAPI(t *testing.T) {
	m := letterOf("ada@example.com")
	gone := newAPI(t)
	nobody := gone.mailServer(t)
	gone.Close()
	stranger := newAPI(t).mailServer(t)
	stranger.tls.RootCAs = x509.NewCertPool()
	dropping := newAPI(t)
	dropping.answer = func(http.ResponseWriter, *http.Request, int) { panic(http.ErrAbortHandler) }
	halfway := newAPI(t)
	halfway.answer = func(w http.ResponseWriter, _ *http.Request, _ int) {
		w.Header().Set("Content-Length", "1000")
		says(w, 200, `{"success":true,`)
	}
	for name, tt := range map[string]struct {
		server    MailServer
		stage     string
		settings  bool
		ambiguous bool
	}{
		"nobody there":   {nobody, stageConnect, false, false},
		"another's":      {stranger, stageConnect, true, false},
		"no answer":      {dropping.mailServer(t), stageDot, false, true},
		"half an answer": {halfway.mailServer(t), stageDot, false, true},
		"TLS is never skipped": {func() MailServer {
			m := mailServer(t, "cloudflare://%s:%s", account, token)
			h := newHost(t)
			m.host, m.port = "127.0.0.1", fmt.Sprint(h.port)
			return m
		}(), stageConnect, false, false},
	} {
		l := tt.server.transport("example.com", nil)
		f := l.deliver(t.Context(), m)
		l.close()
		if f == nil || f.stage != tt.stage || f.ofSettings() != tt.settings || f.ambiguous() != tt.ambiguous || f.permanent() {
			t.Errorf("%s: %+v", name, f)
			continue
		}
		if said := f.Error() + f.cause(); strings.Contains(said, token) || strings.Contains(said, account) {
			t.Errorf("%s: tells too much: %s", name, said)
		}
	}
}

func TestStalledAPIIsLeftWhenTimeIsUp(t *testing.T) {
	a := newAPI(t)
	stalled := make(chan struct{})
	a.answer = func(_ http.ResponseWriter, r *http.Request, _ int) {
		close(stalled)
		<-r.Context().Done()
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-stalled
		cancel()
	}()
	l := a.mailServer(t).transport("example.com", nil)
	defer l.close()
	if f := l.deliver(ctx, letterOf("ada@example.com")); f == nil || !f.ambiguous() || !errors.Is(f, context.Canceled) {
		t.Errorf("%+v", f)
	}
}

// Neither mail nor token follows a redirect.
func TestRedirectIsNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		var followed bool
		elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed = true }))
		a := newAPI(t)
		a.answer = func(w http.ResponseWriter, r *http.Request, _ int) { http.Redirect(w, r, elsewhere.URL, status) }
		l := a.mailServer(t).transport("example.com", nil)
		f := l.deliver(t.Context(), letterOf("ada@example.com"))
		l.close()
		elsewhere.Close()
		if f == nil || f.permanent() || f.detail() != fmt.Sprintf("api %d", status) || followed {
			t.Errorf("%d: %+v, followed: %t", status, f, followed)
		}
	}
}

func TestOutboxOverCloudflare(t *testing.T) {
	a, q := newAPI(t), openQueue(t)
	a.answer = func(w http.ResponseWriter, _ *http.Request, n int) {
		switch to := a.taken()[n-1].to; {
		case n == 1:
			says(w, 503, failing(10100, "email.sending.error.authentication.upstream"))
		case strings.HasPrefix(to, "gone"):
			says(w, 200, succeeding("permanent_bounces", to))
		case strings.HasPrefix(to, "full"):
			says(w, 400, failing(10204, "email.sending.error.email.recipient_suppressed"))
		default:
			says(w, 200, succeeding("queued", to))
		}
	}
	o := q.outbox(a.mailServer(t))
	o.delay = func(int, time.Duration) time.Duration { return 0 }
	stop := running(o)
	for to, want := range map[string]string{
		"ada@example.com": "sent", "gone@example.com": "failed api 200 bounced", "full@example.com": "failed api 400 email.recipient_suppressed",
	} {
		id := q.ask(to)
		o.Wake()
		q.becomes(id, want)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if all := a.taken(); len(all) != 4 || !bytes.Equal(all[0].raw, all[1].raw) {
		t.Errorf("%d requests", len(all))
	}
	if log := q.log(); strings.Contains(log, token) || strings.Contains(log, account) {
		t.Error(log)
	}
}

func TestSendTestOverCloudflare(t *testing.T) {
	a := newAPI(t)
	var dialogue bytes.Buffer
	if _, err := SendTest(t.Context(), a.mailServer(t), "login@example.com", "you@example.org", &dialogue); err != nil {
		t.Fatal(err)
	}
	wrong := a.mailServer(t)
	wrong.password = "other_topsecret"
	_, err := SendTest(t.Context(), wrong, "login@example.com", "you@example.org", &dialogue)
	if err == nil || !strings.Contains(err.Error(), "api: 401 authentication.unauthorized: the provider turns the token or the account down") {
		t.Error(err)
	}
	said := dialogue.String() + err.Error()
	for _, want := range []string{"* https://127.0.0.1", "C: POST send_raw (the mail, ", "S: (accepted)", "S: api 401 authentication.unauthorized"} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in\n%s", want, said)
		}
	}
	if strings.Contains(said, "topsecret") || strings.Contains(said, account) {
		t.Error(said)
	}
}
