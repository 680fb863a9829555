package login

import (
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/templates"
)

// maxBody is as long as a form or JSON body may be; a request handle fits.
const maxBody = 32 << 10

// unavailableFor is how long a caller waits when storage has failed.
const unavailableFor = 5 * time.Second

// refusal is an error with a public description and status.
type refusal struct {
	status      int
	code        string // data-error of the page
	description string
	retryAfter  time.Duration
}

func (e *refusal) Error() string { return e.code + ": " + e.description }

func invalidRequest(description string) error {
	return &refusal{status: http.StatusBadRequest, code: "invalid_request", description: description}
}

// refuse gives any error its public form. What we don't know is not the
// caller's doing: nothing was decided, and the caller may come again.
func refuse(err error) *refusal {
	var (
		known   *refusal
		limit   *storage.LimitError
		tooLong *http.MaxBytesError
	)
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &limit):
		return &refusal{status: http.StatusTooManyRequests, code: "limited", description: "Too many requests", retryAfter: limit.RetryAfter}
	case errors.As(err, &tooLong):
		return &refusal{status: http.StatusRequestEntityTooLarge, code: "invalid_request", description: "The request is too long."}
	case errors.Is(err, ErrNoRequest):
		return &refusal{status: http.StatusBadRequest, code: "invalid_request",
			description: "This sign-in has expired or belongs to another browser. Please start again from the app."}
	case errors.Is(err, storage.ErrRefused):
		return &refusal{status: http.StatusForbidden, code: "access_denied", description: "This address may not sign in here."}
	}
	return &refusal{status: http.StatusServiceUnavailable, code: "temporarily_unavailable",
		description: "Signing in is not possible right now. Please try again in a moment.", retryAfter: unavailableFor}
}

type handler func(w http.ResponseWriter, r *http.Request) error

// methods are the handlers of one path.
type methods map[string]handler

func (m methods) serve(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Cache-Control", "no-store")
	handle, ok := m[r.Method]
	if !ok {
		var allow []string
		for method := range m {
			allow = append(allow, method)
		}
		slices.Sort(allow)
		w.Header().Set("Allow", strings.Join(allow, ", "))
		return &refusal{status: http.StatusMethodNotAllowed, code: "invalid_request", description: "Method not allowed"}
	}
	return handle(w, r)
}

// page answers a handler's error with a page of its true status.
func (l *Login) page(m methods) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := m.serve(w, r)
		if err == nil {
			return
		}
		e := l.refused(w, r, err)
		if e.status == http.StatusTooManyRequests {
			l.cfg.Templates.Render(w, r, e.status, templates.Limited{RetryAfter: e.retryAfter})
			return
		}
		l.cfg.Templates.Render(w, r, e.status, templates.Error{Code: e.code, Description: e.description})
	}
}

// api answers a handler's error in JSON.
func (l *Login) api(m methods) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := m.serve(w, r); err != nil {
			e := l.refused(w, r, err)
			writeJSON(w, e.status, map[string]string{"error": strings.TrimSuffix(e.description, ".")})
		}
	}
}

// refused logs an error and sets the headers of its answer.
func (l *Login) refused(w http.ResponseWriter, r *http.Request, err error) *refusal {
	e := refuse(err)
	attrs := []slog.Attr{slog.String("error", e.code)}
	var limit *storage.LimitError
	switch {
	case errors.As(err, &limit):
		attrs = append(attrs, slog.String("limit", limitKind(limit.Key)))
	case e.status == http.StatusServiceUnavailable:
		attrs = append(attrs, slog.String("cause", err.Error()))
	}
	l.log(r, attrs...)
	if e.retryAfter > 0 {
		setRetryAfter(w, e.retryAfter)
	}
	return e
}

func setRetryAfter(w http.ResponseWriter, d time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(d.Seconds())))))
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) // to a browser that may be gone: nobody to tell
}

// readQuery reads the query of an address: one value for each name.
func readQuery(r *http.Request) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, invalidRequest("The address of this page is malformed.")
	}
	return query, once(query)
}

// readForm reads the body of a form: one value for each name. The query is no
// part of it.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/x-www-form-urlencoded" {
		return nil, &refusal{status: http.StatusUnsupportedMediaType, code: "invalid_request", description: "This is not a form."}
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		var tooLong *http.MaxBytesError
		if errors.As(err, &tooLong) {
			return nil, err
		}
		return nil, invalidRequest("The form is malformed.")
	}
	return r.PostForm, once(r.PostForm)
}

// once refuses repeated parameters: there is no true one to believe.
func once(values url.Values) error {
	for _, v := range values {
		if len(v) > 1 {
			return invalidRequest("A parameter is repeated.")
		}
	}
	return nil
}
