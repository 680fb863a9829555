package login

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

// maxJSON is as long as the body of POST /send-magic-link may be.
const maxJSON = 16 << 10

var errInvalidEmail = &refusal{status: http.StatusBadRequest, code: "invalid_request", description: "Invalid email"}

// sendMagicLink is POST /send-magic-link: it starts a login that no relying
// party waits for and any browser may confirm. There is no CORS: a page of
// another site can neither read nor send.
func (l *Login) sendMagicLink(w http.ResponseWriter, r *http.Request) error {
	if err := l.csrf.Check(r); err != nil {
		return &refusal{status: http.StatusForbidden, code: "access_denied", description: "Cross-origin requests are not allowed"}
	}
	if !isJSON(r.Header.Get("Content-Type")) {
		return &refusal{status: http.StatusUnsupportedMediaType, code: "invalid_request", description: "Content-Type must be application/json"}
	}
	email, err := readEmail(http.MaxBytesReader(w, r.Body, maxJSON))
	if err != nil {
		return err
	}
	addr, err := ParseAddress(email)
	if err != nil {
		return errInvalidEmail
	}
	locale := l.cfg.Templates.Locale(r)
	_, err = l.ask(r, storage.Attempt{Txn: keys.ID(), Locale: locale, Agent: agent(r), Network: l.whereFrom(r, locale)}, addr, l.cfg.Now())
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, struct {
		Success bool   `json:"success"`
		Message string `json:"message"`
	}{true, "Magic link sent to your email"})
	return nil
}

func isJSON(contentType string) bool {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil || media != "application/json" {
		return false
	}
	charset, ok := params["charset"]
	return !ok || strings.EqualFold(charset, "utf-8") // RFC 8259 §8.1
}

// readEmail reads {"email": "..."}: one object and nothing after it, the name
// once (RFC 8259 §4). Other names are ignored.
func readEmail(body io.Reader) (string, error) {
	var (
		email string
		found bool
		d     = json.NewDecoder(body)
	)
	fail := func(err error) (string, error) {
		var tooLong *http.MaxBytesError
		if errors.As(err, &tooLong) {
			return "", err
		}
		return "", errInvalidEmail
	}
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return fail(err)
	}
	seen := map[string]bool{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return fail(err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return fail(err)
		}
		key := name.(string) // the decoder takes nothing else before a colon
		if seen[key] {
			return fail(nil)
		}
		seen[key] = true
		if key == "email" {
			found = true
			if err := json.Unmarshal(value, &email); err != nil || string(value) == "null" {
				return fail(err)
			}
		}
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return fail(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fail(err)
	}
	if !found {
		return fail(nil)
	}
	return email, nil
}
