package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// What a script writes for Cloudflare's account and token.
const (
	cloudflareID    = "0123456789abcdef0123456789abcdef"
	cloudflareToken = "hunter2"
)

// cloudflare answers as the API of Cloudflare's Email Service is documented.
type cloudflare struct {
	sink   *mailSink
	refuse []string // status and name of an error; empty: it takes every mail
}

// ServeHTTP is POST /client/v4/accounts/ACCOUNT/email/sending/send_raw, and GET
// …/suppressions.
func (c *cloudflare) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fail := func(status, name string) {
		var code int
		_, _ = fmt.Sscan(status, &code)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"success":false,"errors":[{"code":10000,"message":"email.sending.error.%s"}],"messages":[],"result":null}`, name)
	}
	var mail struct {
		From       string
		Recipients []string
		Message    string `json:"mime_message"`
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	switch {
	case r.Method == http.MethodGet && r.URL.String() == "/client/v4/accounts/"+cloudflareID+"/email/sending/suppressions?email=login%40example.com" &&
		r.Header.Get("Authorization") == "Bearer "+cloudflareToken:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"success":true,"errors":[],"messages":[],"result":[]}`)
	case r.Header.Get("Authorization") != "Bearer "+cloudflareToken:
		fail("401", "authentication.unauthorized")
	case r.Method != http.MethodPost || r.URL.String() != "/client/v4/accounts/"+cloudflareID+"/email/sending/send_raw":
		fail("404", "not_found")
	case d.Decode(&mail) != nil || mail.From != "login@example.com" || len(mail.Recipients) != 1:
		fail("400", "invalid_request_schema")
	case len(c.refuse) > 0:
		fail(c.refuse[0], c.refuse[1])
	case c.sink.take([]byte(mail.Message), mail.Recipients) != nil:
		fail("400", "email.invalid")
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"success":true,"errors":[],"messages":[],"result":{"delivered":["`+mail.Recipients[0]+`"],"permanent_bounces":[],"queued":[]}}`)
	}
}
