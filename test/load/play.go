package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

const (
	clientID     = "bench"
	clientSecret = "bench-secret-bench-secret"
	redirectURI  = "http://127.0.0.1:9999/cb"
)

var basic = "Basic " + base64.StdEncoding.EncodeToString([]byte(clientID+":"+clientSecret))

// app is a relying party of a provider under measurement.
type app struct {
	base string
	mail *mailbox // nil: the page holds the link (floor)
	n    atomic.Int64
	run  string // makes the addresses of this run its own
}

type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	ID      string `json:"id_token"`
}

// request is an authorization request and the verifier of its challenge.
func (a *app) request() (path, verifier string) {
	verifier = rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(verifier))
	return "/authorize?" + url.Values{
		"client_id": {clientID}, "redirect_uri": {redirectURI}, "response_type": {"code"}, "scope": {"openid email offline_access"},
		"state": {rand.Text()}, "nonce": {rand.Text()}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}.Encode(), verifier
}

// form is a person on the way to the form.
func (a *app) form(b *browser) (answer, string, error) {
	path, verifier := a.request()
	if a.mail == nil {
		page, err := b.must(200, "GET", path, nil)
		return page, verifier, err
	}
	to, err := b.must(303, "GET", path, nil)
	if err != nil {
		return to, "", err
	}
	page, err := b.must(200, "GET", to.location, nil)
	return page, verifier, err
}

// login is a whole login of somebody new: form, mail, link, code, tokens.
func (a *app) login(b *browser) (t tokens, err error) {
	form, verifier, err := a.form(b)
	if err != nil {
		return t, err
	}
	address := fmt.Sprintf("u%d-%s@load.example", a.n.Add(1), a.run)
	var code string
	if a.mail == nil {
		code, err = a.floorLink(b, form, address)
	} else {
		code, err = a.link(b, form, address)
	}
	if err != nil {
		return t, err
	}
	return a.redeem(b, code, verifier)
}

func (a *app) floorLink(b *browser, form answer, address string) (code string, err error) {
	sent, err := b.must(200, "POST", "/login", url.Values{"req": {form.field("req")}, "email": {address}})
	if err != nil {
		return "", err
	}
	link := between(string(sent.body), `data-link="`, `"`)
	if _, err := b.must(200, "GET", "/link?k="+link, nil); err != nil {
		return "", err
	}
	back, err := b.must(303, "POST", "/link", url.Values{"k": {link}})
	return back.param("code"), err
}

func (a *app) link(b *browser, form answer, address string) (code string, err error) {
	l, err := a.ask(b, form, address)
	if err != nil {
		return "", err
	}
	confirm, err := b.must(200, "GET", l.link, nil)
	if err != nil {
		return "", err
	}
	back, err := b.must(303, "POST", "/login", url.Values{"action": {"confirm"}, "token": {confirm.field("token")}})
	return back.param("code"), err
}

// ask sends the form and waits for the mail.
func (a *app) ask(b *browser, form answer, address string) (letter, error) {
	arrives := a.mail.expect(address)
	wait, err := b.must(303, "POST", "/login", url.Values{"action": {"email"}, "request": {form.field("request")}, "email": {address}})
	if err != nil {
		return letter{}, err
	}
	if _, err := b.must(200, "GET", wait.location, nil); err != nil {
		return letter{}, err
	}
	select {
	case l := <-arrives:
		return l, nil
	case <-time.After(30 * time.Second):
		return letter{}, errors.New("no mail came in 30 seconds")
	}
}

func (a *app) redeem(b *browser, code, verifier string) (t tokens, err error) {
	if code == "" {
		return t, errors.New("no code")
	}
	return a.token(b, url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirectURI}, "code_verifier": {verifier}})
}

func (a *app) token(b *browser, form url.Values) (t tokens, err error) {
	got, err := b.must(200, "POST", "/token", form, "Authorization", basic)
	if err == nil {
		err = json.Unmarshal(got.body, &t)
	}
	if err == nil && (t.Access == "" || t.ID == "") {
		err = errors.New("tokens are missing")
	}
	return t, err
}

// silent is a login on the session that the browser has.
func (a *app) silent(b *browser) error {
	path, verifier := a.request()
	back, err := b.must(303, "GET", path, nil)
	if err != nil {
		return err
	}
	_, err = a.redeem(b, back.param("code"), verifier)
	return err
}

func between(s, before, after string) string {
	_, rest, _ := strings.Cut(s, before)
	value, _, _ := strings.Cut(rest, after)
	return value
}
