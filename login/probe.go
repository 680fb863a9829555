package login

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// CheckServer does all but send: it connects as the outbox would, up to and with
// AUTH, and hangs up. Cloudflare is asked whether it suppresses the sender's
// own address, which takes the token. With an error comes what to do about it.
func CheckServer(ctx context.Context, server MailServer, from string) (fix string, err error) {
	s, err := parseSender(from)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	f := server.check(ctx, s)
	if f == nil {
		return "", nil
	}
	return f.remedy(), f
}

func (m MailServer) check(ctx context.Context, s sender) *failure {
	if m.security == cloudflareAPI {
		t := newCloudflareTransport(m, nil)
		defer t.close()
		return t.ask(ctx, s.address)
	}
	t := &smtpTransport{server: m, helo: s.domain}
	c, f := t.open(ctx)
	if f != nil {
		return f
	}
	t.conn = c
	t.close()
	return nil
}

// ask is GET /accounts/ACCOUNT/email/sending/suppressions?email=ADDRESS.
func (t *cloudflareTransport) ask(ctx context.Context, address string) *failure {
	about := strings.TrimSuffix(t.endpoint, "send_raw") + "suppressions?" + url.Values{"email": {address}}.Encode()
	req, err := t.request(ctx, http.MethodGet, about, nil)
	if err != nil {
		return failed(ctx, stageConnect, err)
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return failed(ctx, stageConnect, withoutURL(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // the status says enough
	return judge(resp.StatusCode, resp.Header, answer)
}

// remedy is what an operator can do about a server that doesn't take our mail.
func (f *failure) remedy() string {
	switch {
	case errors.Is(f.err, errNoTLS), errors.Is(f.err, errNotLoopback), errors.Is(f.err, errAccount):
		return "" // it says so itself
	case f.unauthenticated() || f.stage == stageAuth:
		return "check user and password in mail.url; special characters in them are percent-encoded"
	case f.stage == stageTLS:
		return "write the host as its certificate has it, or name its authorities with ?ca_file=FILE"
	case f.stage == stageConnect:
		return "check host and port in mail.url, and that a firewall lets this machine out to it"
	}
	return "ask who runs the mail server"
}
