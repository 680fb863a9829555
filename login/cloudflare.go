package login

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	cloudflareHost = "api.cloudflare.com"
	maxAnswer      = 64 << 10 // what is read of an answer
)

// stageAPI is where an HTTP API answered.
const stageAPI = "api"

// What an API answers, in place of reply codes.
var (
	errBounced   = errors.New("the provider could not deliver it: the address takes no mail, or the account may not write to it yet")
	errTurnsDown = errors.New("the provider turns this mail down")
	errAccount   = errors.New("the provider turns the token or the account down: the token must be the account's and may send email, and the sender's domain must be set up for it")
	errBusy      = errors.New("the provider is in trouble, or wants less mail")
	errNoAnswer  = errors.New("the answer makes no sense, and the mail may be on its way")
)

// cloudflareURL is an account's id and its API token (RFC 6750 §2.1).
var cloudflareURL = regexp.MustCompile(`^(?i:cloudflare)://([0-9a-fA-F]{32}):([-A-Za-z0-9._~+/]+=*)$`)

// parseCloudflare reads cloudflare://ACCOUNT:TOKEN.
func parseCloudflare(s string) (MailServer, error) {
	address, query, more := strings.Cut(s, "?")
	parts := cloudflareURL.FindStringSubmatch(address)
	if parts == nil || more && query == "" {
		return MailServer{}, errors.New("write cloudflare://ACCOUNT:TOKEN, the account's id of 32 hexadecimal digits and an API token that may send email")
	}
	m := MailServer{host: cloudflareHost, port: "443", security: cloudflareAPI, user: lower(parts[1]), password: parts[2]}
	values, err := url.ParseQuery(query)
	if err != nil {
		return MailServer{}, errors.New("what follows ? is malformed: write ?ca_file=FILE")
	}
	if values.Has("api_url") {
		if err := m.apiAt(values["api_url"]); err != nil {
			return MailServer{}, err
		}
		values.Del("api_url")
	}
	return m, m.trust(values.Encode())
}

// apiAt takes another address of the API, which gets the token and every mail,
// and so must be on this machine.
func (m *MailServer) apiAt(addresses []string) error {
	u, err := url.Parse(addresses[0])
	if err != nil || len(addresses) > 1 || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("api_url: write one address without path, such as http://127.0.0.1:8000")
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err != nil || !addr.IsLoopback() {
		return errors.New("api_url is for tests on this machine: write a loopback address such as http://127.0.0.1:8000, or leave it out")
	}
	m.host, m.port, m.plain = u.Hostname(), u.Port(), u.Scheme == "http"
	if m.port == "" {
		m.port = map[bool]string{true: "80", false: "443"}[m.plain]
	}
	return nil
}

// apiURL is where an API is, by its origin.
func (m MailServer) apiURL() *url.URL {
	at := &url.URL{Scheme: "https", Host: m.host}
	if m.plain {
		at.Scheme = "http"
	}
	if m.host != cloudflareHost || m.port != "443" {
		at.Host = m.address()
	}
	return at
}

// cloudflareTransport hands mails to Cloudflare's Email Service as they are:
// POST /accounts/ACCOUNT/email/sending/send_raw. A request has one recipient,
// since one that is suppressed turns the whole request down.
type cloudflareTransport struct {
	endpoint string
	token    string
	client   *http.Client
	log      *dialogue // nil: none
}

// newCloudflareTransport has one connection and follows no redirect, which
// would take the mail and the token elsewhere.
func newCloudflareTransport(server MailServer, log *dialogue) *cloudflareTransport {
	at := server.apiURL().JoinPath("/client/v4/accounts", server.user, "email/sending/send_raw")
	return &cloudflareTransport{endpoint: at.String(), token: server.password, log: log, client: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			TLSClientConfig: server.tls.Clone(), ForceAttemptHTTP2: true, MaxConnsPerHost: 1, DisableCompression: true,
			TLSHandshakeTimeout: connectTimeout, MaxResponseHeaderBytes: maxAnswer,
		},
	}}
}

// close is transport.close.
func (t *cloudflareTransport) close() { t.client.CloseIdleConnections() }

// deliver is transport.deliver.
func (t *cloudflareTransport) deliver(ctx context.Context, m message) *failure {
	body, err := json.Marshal(struct {
		From       string   `json:"from"`
		Recipients []string `json:"recipients"`
		Message    string   `json:"mime_message"`
	}{m.from, []string{m.to}, string(m.raw)})
	if err != nil {
		return failed(ctx, stageBody, err)
	}
	var connected atomic.Bool // from then on the mail may be taken
	trace := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	req, err := t.request(trace, http.MethodPost, t.endpoint, bytes.NewReader(body))
	if err != nil {
		return failed(ctx, stageConnect, err)
	}
	req.Header.Set("Content-Type", "application/json")
	t.log.printf("C: POST send_raw (the mail, %d bytes)", len(m.raw))
	resp, err := t.client.Do(req)
	switch {
	case err != nil && connected.Load():
		return failed(ctx, stageDot, withoutURL(err))
	case err != nil:
		return failed(ctx, stageConnect, withoutURL(err))
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	f := judge(resp.StatusCode, resp.Header, answer)
	if f != nil && f.ambiguous() && err != nil {
		return failed(ctx, stageDot, err)
	}
	if f != nil {
		t.log.printf("S: %s", f.detail())
	}
	return f
}

// request makes a request of the API.
func (t *cloudflareTransport) request(ctx context.Context, method, address string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, errors.New("malformed address") // the error tells the account
	}
	req.Header.Set("Authorization", "Bearer "+t.token)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "Sealpost")
	return req, nil
}

// withoutURL leaves out the address of a request, which has the account in it.
func withoutURL(err error) error {
	var about *url.Error
	if errors.As(err, &about) {
		return about.Err
	}
	return err
}

// cloudflareAnswer is what the API sends; its result is null in case of errors.
type cloudflareAnswer struct {
	Success bool
	Errors  []struct {
		Code    int
		Message string
	}
	Result struct {
		Delivered  []string // now
		Queued     []string // later, by Cloudflare
		Bounced    []string `json:"permanent_bounces"`
		Suppressed []string `json:"suppressed_recipients"`
		ID         string   `json:"message_id"`
	}
}

// judge tells what an answer means.
func judge(status int, header http.Header, body []byte) *failure {
	var a cloudflareAnswer
	malformed := json.Unmarshal(body, &a) != nil
	name := a.name()
	switch {
	case status/100 == 2 && malformed:
		return &failure{stage: stageDot, err: errNoAnswer}
	case status/100 == 2 && a.Success:
		return a.outcome(status)
	case status == http.StatusBadRequest && strings.Contains(name, "suppress"):
		return answered(status, name, errSuppressed)
	}
	f := answered(status, name, errBusy)
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		f.err = errTurnsDown
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		f.err = errAccount
	default:
		f.after = retryAfter(header)
	}
	return f
}

// outcome tells what became of the one recipient.
func (a *cloudflareAnswer) outcome(status int) *failure {
	r := a.Result
	switch {
	case len(r.Delivered)+len(r.Queued) > 0:
		return nil
	case len(r.Bounced) > 0:
		return answered(status, "bounced", errBounced)
	case len(r.Suppressed) > 0:
		return answered(status, "suppressed", errSuppressed)
	case r.ID != "":
		return nil
	}
	return &failure{stage: stageDot, err: errNoAnswer}
}

// answered makes the failure of an answer.
func answered(status int, name string, err error) *failure {
	return &failure{stage: stageAPI, answer: strings.TrimSpace(strconv.Itoa(status) + " " + name), err: err}
}

var errorName = regexp.MustCompile(`^email\.sending\.error\.([a-z_.]{1,64})$`)

// name is the error's, which has more versions of its number than of itself.
// Other messages may hold an address and aren't repeated.
func (a *cloudflareAnswer) name() string {
	if len(a.Errors) == 0 {
		return ""
	}
	if name := errorName.FindStringSubmatch(a.Errors[0].Message); name != nil {
		return name[1]
	}
	return strconv.Itoa(a.Errors[0].Code)
}

// retryAfter reads Retry-After, of which a date is seen by the server's clock
// (RFC 9110 §10.2.3).
func retryAfter(header http.Header) time.Duration {
	value := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(value)
	now, unknown := http.ParseTime(header.Get("Date"))
	if errors.Join(err, unknown) != nil {
		return 0
	}
	return max(0, at.Sub(now))
}
