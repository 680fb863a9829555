package templates

import (
	"cmp"
	"context"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"slices"
	"strings"

	"golang.org/x/text/language"
)

// Languages are the languages there are, as BCP 47 names them: what discovery
// lists as ui_locales_supported, and what [Branding].Language can be.
func Languages() []string {
	var all []string
	names, _ := files.ReadDir("messages") // embedded: it is there
	for _, name := range names {
		all = append(all, strings.TrimSuffix(name.Name(), path.Ext(name.Name())))
	}
	return all
}

// languageCookie keeps what somebody chose from the menu.
const languageCookie = "sealpost-language"

type wantedKey struct{}

// WithLocales lets pages that answer r be in one of the languages wanted, the
// best first: ui_locales (OIDC Core §3.1.2.1), then what is known of the user.
// Each is one BCP 47 tag or a list of them.
func WithLocales(r *http.Request, wanted ...string) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), wantedKey{}, wanted))
}

// Locale picks the language of an answer to r: what was chosen from the menu
// in this browser, else the best there is of wanted, of [WithLocales], and of
// Accept-Language (RFC 9110 §12.5.4), in this order, else the instance's own.
// The menu is first, as a client that sends ui_locales with every request
// would make it useless.
func (t *Templates) Locale(r *http.Request, wanted ...string) string {
	if chosen := t.chosen(r); chosen != "" {
		return chosen
	}
	before, _ := r.Context().Value(wantedKey{}).([]string)
	for _, list := range slices.Concat(wanted, before, []string{r.Header.Get("Accept-Language")}) {
		if lang, ok := t.languages.match(list); ok {
			return lang
		}
	}
	return t.languages.words[0].Lang
}

// match finds the language for a list such as "de-AT, fr;q=0.5" or "de-AT fr":
// the first there is, else the first that readers of a listed one can read
// (CLDR), such as Dutch for Frisian. Traditional Chinese is read as Simplified
// where nothing else is listed.
func (l *languages) match(list string) (lang string, ok bool) {
	wishes := readWishes(list)
	for _, near := range []bool{false, true} {
		for _, wish := range wishes {
			_, i, sure := l.matcher.Match(wish)
			a, _ := wish.Base()
			b, _ := l.tags[i].Base()
			if a == b && sure >= language.High || near && sure > language.No {
				return l.words[i].Lang, true
			}
		}
	}
	return "", false
}

// readWishes puts the languages of a list in order. What is no language is
// passed over, and so is what comes after the twentieth.
func readWishes(list string) []language.Tag {
	type wish struct {
		tag language.Tag
		q   float32
	}
	var wishes []wish
	entries := strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
	for _, entry := range entries[:min(len(entries), 20)] {
		if tags, q, err := language.ParseAcceptLanguage(entry); err == nil && len(tags) == 1 && q[0] > 0 {
			wishes = append(wishes, wish{tags[0], q[0]})
		}
	}
	slices.SortStableFunc(wishes, func(a, b wish) int { return cmp.Compare(b.q, a.q) })
	var tags []language.Tag
	for _, w := range wishes {
		tags = append(tags, w.tag)
	}
	return tags
}

// chosen is what somebody chose from the menu, now or before; "" without.
func (t *Templates) chosen(r *http.Request) string {
	if lang := t.choosing(r); lang != "" {
		return lang
	}
	if c, err := r.Cookie(languageCookie); err == nil && t.languages.has(c.Value) {
		return c.Value
	}
	return ""
}

// choosing is what the menu's link names that r follows; "" for any other r.
func (t *Templates) choosing(r *http.Request) string {
	if lang := r.URL.Query().Get("lang"); r.Method == http.MethodGet && t.languages.has(lang) {
		return lang
	}
	return ""
}

// remember keeps what is being chosen for a year.
func (t *Templates) remember(w http.ResponseWriter, r *http.Request) {
	if lang := t.choosing(r); lang != "" {
		http.SetCookie(w, &http.Cookie{Name: languageCookie, Value: lang, Path: "/", MaxAge: 365 * 24 * 60 * 60,
			HttpOnly: true, Secure: hasScheme(t.brand.Issuer, "https"), SameSite: http.SameSiteLaxMode})
	}
}

// Forget takes back what was chosen from the menu, for who has set a language of
// their own.
func (t *Templates) Forget(w http.ResponseWriter) {
	http.SetCookie(w, &http.Cookie{Name: languageCookie, Path: "/", MaxAge: -1,
		HttpOnly: true, Secure: hasScheme(t.brand.Issuer, "https"), SameSite: http.SameSiteLaxMode})
}

// maxMenu is the longest query of an address with a menu, in bytes.
const maxMenu = 2048

// Choice is a language in the menu, by its own name.
type Choice struct{ Lang, Dir, Name, URL string }

// Menu are the languages to choose from: links to the page that is shown. There
// is none where to ask for the page again would not bring it back, or would be
// too late: on the answer to a form, and on a page that goes on by itself.
// Nor is there one at a long address: the page would be many times as long.
func (v view) Menu() ([]Choice, error) {
	if v.request.Method != http.MethodGet || moves(v.Page) || len(v.request.URL.RawQuery) > maxMenu {
		return nil, nil
	}
	all, err := v.Choices()
	query := v.request.URL.Query()
	query.Del("lang")
	rest := query.Encode()
	if rest != "" {
		rest = "&" + rest
	}
	for i, c := range all {
		all[i].URL = "?lang=" + c.Lang + rest
	}
	return all, err
}

// Links are the menu's. They are as many as there are languages on every page,
// and written here for the time that takes.
func (v view) Links(menu []Choice) template.HTML {
	var b strings.Builder
	for _, c := range menu {
		here := ""
		if c.Lang == v.Lang {
			here = ` aria-current="true"`
		}
		fmt.Fprintf(&b, "\n<a href=\"%s\" lang=\"%s\" dir=\"%s\" hreflang=\"%s\"%s>%s</a>",
			template.HTMLEscapeString(c.URL), c.Lang, c.Dir, c.Lang, here, template.HTMLEscapeString(c.Name))
	}
	return template.HTML(b.String())
}

// Choices are the languages there are, without links.
func (v view) Choices() ([]Choice, error) {
	var all []Choice
	for _, w := range v.t.languages.words {
		name, err := w.T("language.name")
		if err != nil {
			return nil, err
		}
		all = append(all, Choice{Lang: w.Lang, Dir: w.Dir, Name: name})
	}
	slices.SortFunc(all, func(a, b Choice) int { return strings.Compare(a.Lang, b.Lang) })
	return all, nil
}

// moves says whether a page goes on by itself.
func moves(p Page) bool {
	switch p := p.(type) {
	case FormPost:
		return true
	case Confirm:
		return p.Auto
	case LoggedOut:
		return p.Auto || len(p.Frames) > 0
	}
	return false
}
