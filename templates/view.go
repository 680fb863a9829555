package templates

import (
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"
)

// view is what a page template sees: the page, the words, and how to show
// what came from outside.
type view struct {
	words
	t       *Templates
	request *http.Request
	Page    Page
	Name    string
	Typing  bool // someone without JavaScript types a code: the page must not reload
}

func (v view) Brand() string   { return v.t.brand.Name }
func (v view) Support() string { return v.t.brand.SupportURL }

// Asset is the address of a static file, "" when there is none of that name.
func (v view) Asset(name string) string {
	a, ok := v.t.assets[name]
	if !ok {
		return ""
	}
	return a.url(name)
}

// Client is the relying party of the page, zero on a page that has none.
func (v view) Client() Client {
	if f := reflect.ValueOf(v.Page).FieldByName("Client"); f.IsValid() {
		return f.Interface().(Client)
	}
	return Client{}
}

// Address says whether the page is about a new address of somebody.
func (v view) Address() bool {
	f := reflect.ValueOf(v.Page).FieldByName("Purpose")
	return f.IsValid() && f.String() == PurposeAddress
}

// App is the name of that relying party, "" when there is none.
func (v view) App() string { return appName(v.Client()) }

func appName(c Client) string {
	if name := SafeName(c.Name); name != "" {
		return name
	}
	if u, err := url.Parse(c.URI); err == nil {
		return SafeName(u.Host)
	}
	return ""
}

// Safe is [SafeName].
func (v view) Safe(name string) string { return SafeName(name) }

// Whole is a name made safe, and not cut.
func (v view) Whole(name string) string { return clean(name) }

// Logo is the address of the client's logo, "" where none is to be shown.
func (v view) Logo() string { return logo(v.Page) }

// Frames are the addresses to open in frames.
func (v view) Frames() []string { return frames(v.Page) }

// Monogram stands in for the logo of a name.
func (v view) Monogram(name string) string { return monogram(name) }

// Web is an address to link to, "" unless it is http or https.
func (v view) Web(address string) string {
	if hasScheme(address, "https", "http") {
		return address
	}
	return ""
}

// Target is an address to go or post to: a path of ours, or what a client
// registered, of the web or of an app by a scheme with a dot in it
// (RFC 8252 §7.1). Any other, such as javascript:, is refused.
func (v view) Target(address string) (template.URL, error) {
	u, err := url.Parse(address)
	ours := err == nil && u.Scheme == "" && u.Host == "" && strings.HasPrefix(u.Path, "/")
	if err != nil || !ours && u.Scheme != "https" && u.Scheme != "http" && !strings.Contains(u.Scheme, ".") {
		return "", fmt.Errorf("refuse to link to an address of this scheme")
	}
	return template.URL(address), nil
}

// Field is a hidden field of a form.
type Field struct{ Name, Value string }

// Fields are the values of a form in a fixed order.
func (v view) Fields(values url.Values) []Field {
	var fields []Field
	for name, list := range values {
		for _, value := range list {
			fields = append(fields, Field{name, value})
		}
	}
	slices.SortStableFunc(fields, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	return fields
}

// Clock is a countdown: "4:05". The script makes it run, and acts at its end
// by its purpose, "resend" or "expires".
func (v view) Clock(d time.Duration, purpose string) template.HTML {
	s := ceil(d, time.Second)
	return template.HTML(fmt.Sprintf(`<span role="timer" dir="ltr" data-countdown="%s" data-seconds="%d">%d:%02d</span>`,
		template.HTMLEscapeString(purpose), s, s/60, s%60))
}

// Refresh is the attribute that goes to a [view.Target] after five seconds
// without JavaScript. A page that reloads itself names itself: reloading the
// answer to a POST would lose it.
func (v view) Refresh(address string) (template.HTMLAttr, error) {
	target, err := v.Target(address)
	return template.HTMLAttr(`content="5;url=` + template.HTMLEscapeString(string(target)) + `"`), err
}

// Ago says how long before now something happened.
func (v view) Ago(then, now time.Time) (string, error) {
	switch d := now.Sub(then); {
	case d < time.Minute:
		return v.T("when.now")
	case d < 2*time.Hour:
		return v.T("when.minutes", "Count", int(d/time.Minute))
	default:
		return v.T("when.hours", "Count", int(d/time.Hour))
	}
}

// scopes are the scopes that have words of their own.
var scopes = []string{"openid", "email", "profile", "groups", "phone", "address", "offline_access"}

// Scope says what a scope gives.
func (v view) Scope(scope string) (template.HTML, error) {
	if slices.Contains(scopes, scope) {
		return v.H("scope." + scope)
	}
	return v.H("scope.custom", "Scope", SafeName(scope))
}

// failures are the errors that have words of their own; any other is the
// fault of the app.
var failures = []string{"server_error", "temporarily_unavailable", "access_denied", "not_found", "expired"}

// Failure is the part of the catalogue that tells of an error.
func (v view) Failure(code string) string {
	if slices.Contains(failures, code) {
		return code
	}
	return "app"
}
