package templates

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"golang.org/x/net/html"
	"golang.org/x/text/language"
)

func asked(path string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func TestLanguages(t *testing.T) {
	want := []string{"ar", "de", "en", "es", "fr", "he", "it", "ja", "nl", "pl", "pt", "tr", "uk", "zh-Hans"}
	if have := Languages(); !slices.Equal(have, want) {
		t.Errorf("%q, want %q", have, want)
	}
	for _, lang := range Languages() {
		if tag, err := language.Parse(lang); err != nil || tag.String() != lang {
			t.Errorf("%s is called %s by BCP 47, %v", lang, tag, err)
		}
		s, err := New(Branding{Language: lang})
		if err != nil || s.Locale(asked("/login")) != lang || s.Locale(asked("/login", "Accept-Language", "fr")) != "fr" {
			t.Errorf("%s does not become the language of the instance: %v", lang, err)
		}
	}
	for _, lang := range []string{"se", "de-AT", "EN", "x y", "../en"} {
		if _, err := New(Branding{Language: lang}); err == nil || !strings.Contains(err.Error(), "want one of ar, de, en") {
			t.Errorf("%q: %v", lang, err)
		}
	}
}

// RFC 4647, and CLDR's table of who can read what.
func TestMatchingOfLanguages(t *testing.T) {
	s := site(t)
	for _, tc := range []struct{ name, list, want string }{
		{"a region we don't tell apart", "de-AT", "de"},
		{"another", "pt-PT", "pt"},
		{"a script by its region", "zh-CN", "zh-Hans"},
		{"a script and a region", "zh-Hans-SG", "zh-Hans"},
		{"no script", "zh", "zh-Hans"},
		{"Traditional Chinese alone is better read as Simplified", "zh-TW", "zh-Hans"},
		{"but not than what is listed", "zh-TW,en;q=0.8", "en"},
		{"as browsers in Taiwan ask", "zh-TW,zh;q=0.9,en-US;q=0.8,en;q=0.7", "zh-Hans"},
		{"an old name", "iw", "he"},
		{"no relative that readers know", "nb", "en"},
		{"nor here", "ru", "en"},
		{"unknown", "se", "en"},
		{"unknown to BCP 47", "xx-YY", "en"},
		{"unknown, then known", "se, xx-YY, fr", "fr"},
		{"read as another", "fy", "nl"},
		{"but not rather than what is listed", "fy, fr;q=0.5", "fr"},
		{"the order of q", "fr;q=0.3, de;q=0.9, ja;q=0.5", "de"},
		{"the order of the list", "uk, pl", "uk"},
		{"not acceptable", "fr;q=0, de;q=0.1", "de"},
		{"any", "*", "en"},
		{"OIDC Core §3.1.2.1: spaces", "se tr en", "tr"},
		{"nonsense", "\x00,;q, ;q=x, --", "en"},
		{"too many", strings.Repeat("se,", 20) + "fr", "en"},
		{"empty", "", "en"},
	} {
		if have := s.Locale(asked("/login", "Accept-Language", tc.list)); have != tc.want {
			t.Errorf("%s: Accept-Language %q: %s, want %s", tc.name, tc.list, have, tc.want)
		}
		if have := s.Locale(asked("/login"), tc.list); have != tc.want {
			t.Errorf("%s: ui_locales %q: %s, want %s", tc.name, tc.list, have, tc.want)
		}
	}
}

func TestOrderOfWhoSaysTheLanguage(t *testing.T) {
	s := site(t)
	for _, tc := range []struct {
		name string
		r    *http.Request
		want string
	}{
		{"nobody", asked("/login"), "en"},
		{"the browser", asked("/login", "Accept-Language", "fr"), "fr"},
		{"the user before it", WithLocales(asked("/login", "Accept-Language", "fr"), "", "it"), "it"},
		{"OIDC Core §3.1.2.1: ui_locales before both", WithLocales(asked("/login", "Accept-Language", "fr"), "se de-AT", "it"), "de"},
		{"ui_locales that there are not", WithLocales(asked("/login", "Accept-Language", "fr"), "se nb", ""), "fr"},
		{"the menu, before", WithLocales(asked("/login", "Accept-Language", "fr", "Cookie", "sealpost-language=ja"), "de"), "ja"},
		{"the menu, now", WithLocales(asked("/login?lang=uk", "Cookie", "sealpost-language=ja"), "de"), "uk"},
		{"a cookie of no language", asked("/login", "Accept-Language", "fr", "Cookie", "sealpost-language=x"), "fr"},
		{"a link of no language", asked("/login?lang=%00", "Accept-Language", "fr"), "fr"},
	} {
		if have := s.Locale(tc.r); have != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, have, tc.want)
		}
		w := httptest.NewRecorder()
		s.Render(w, tc.r, http.StatusOK, Login{})
		root := parse(t, w.Body.String()).tags("html")[0]
		if root.get("lang") != tc.want || w.Header().Get("Content-Language") != tc.want || w.Header().Get("Vary") != "Accept-Language, Cookie" {
			t.Errorf("%s: the page is in %s, headers %v", tc.name, root.get("lang"), w.Header())
		}
	}
	if have := s.Locale(asked("/login", "Accept-Language", "fr"), "de"); have != "de" {
		t.Errorf("an argument is passed over: %s", have)
	}
}

func TestTheMenuRemembers(t *testing.T) {
	s := site(t)
	show := func(r *http.Request, p Page) (*node, []*http.Cookie) {
		w := httptest.NewRecorder()
		s.Render(w, r, http.StatusOK, p)
		return parse(t, w.Body.String()), w.Result().Cookies()
	}
	doc, cookies := show(asked("/login?request=a%26b&lang=de", "Accept-Language", "fr"), Login{Request: "a&b"})
	if len(cookies) != 1 {
		t.Fatalf("cookies: %v", cookies)
	}
	if c := cookies[0]; c.Name != "sealpost-language" || c.Value != "de" || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.MaxAge < 1<<24 {
		t.Errorf("cookie %v", c)
	}
	var langs []string
	for _, a := range doc.tags("nav")[0].tags("a") {
		langs = append(langs, a.get("hreflang"))
		u, err := url.Parse(a.get("href"))
		if err != nil || u.Path != "" || u.Host != "" || u.Query().Encode() != "lang="+a.get("hreflang")+"&request=a%26b" {
			t.Errorf("%s leads to %s, not to the same page", a.text(), a.get("href"))
		}
		if a.get("lang") != a.get("hreflang") || a.get("dir") == "" || (a.get("aria-current") == "true") != (a.get("lang") == "de") {
			t.Errorf("%s is not told to be what it is", a.text())
		}
	}
	if !slices.Equal(langs, Languages()) {
		t.Errorf("the menu has %q", langs)
	}
	for name, tc := range map[string]struct {
		r *http.Request
		p Page
	}{
		"the answer to a form":     {httptest.NewRequest(http.MethodPost, "/login?lang=de", nil), Login{}},
		"a page that goes on":      {asked("/login?token=t"), Confirm{Auto: true}},
		"a form that posts itself": {asked("/authorize/resume?request=r"), FormPost{Action: "https://app.example.com/cb"}},
		"an endless address":       {asked("/login?request=" + strings.Repeat("x", 3000)), Login{}},
		"frames that sign out":     {asked("/logout"), LoggedOut{Frames: []string{"https://app.example.com/out"}}},
	} {
		doc, cookies := show(tc.r, tc.p)
		if len(doc.tags("nav")) > 0 || len(cookies) > 0 {
			t.Errorf("%s has a menu, or changes the language: %v", name, cookies)
		}
	}
}

// forEachLanguage runs a test with a browser of each language.
func forEachLanguage(t *testing.T, f func(t *testing.T, lang, dir string)) {
	for _, lang := range Languages() {
		t.Run(lang, func(t *testing.T) {
			dir := "ltr"
			if lang == "ar" || lang == "he" {
				dir = "rtl"
			}
			f(t, lang, dir)
		})
	}
}

// english are sentences that would stand out in any other language.
func english(t *testing.T) map[string]string {
	all := map[string]string{}
	for key, m := range catalogues(t)[0].messages {
		for _, part := range placeholder.Split(m.Other, -1) {
			if part = strings.Trim(part, " .:,"); len(strings.Fields(part)) > 2 {
				all[key] = part
			}
		}
	}
	if len(all) < 100 {
		t.Fatalf("%d sentences", len(all))
	}
	return all
}

func TestEveryPageInEveryLanguage(t *testing.T) {
	s, sentences := site(t), english(t)
	forEachLanguage(t, func(t *testing.T, lang, dir string) {
		for _, it := range samples(intranet, ada) {
			path := it.path
			if path == "" {
				path = "/login"
			}
			w := httptest.NewRecorder()
			s.Render(w, asked(path, "Accept-Language", lang), http.StatusTeapot, it.page)
			if w.Code != http.StatusTeapot {
				t.Fatalf("%s: status %d", it.name, w.Code)
			}
			doc := parse(t, w.Body.String())
			if root := doc.tags("html")[0]; root.get("lang") != lang || root.get("dir") != dir {
				t.Errorf("%s: lang %q, dir %q", it.name, root.get("lang"), root.get("dir"))
			}
			speaks(t, it.name, doc.text(), lang, sentences)
			for _, field := range doc.tags("input") {
				if field.get("name") == "name" && field.get("dir") == "auto" || field.get("type") == "checkbox" {
					continue // a name is of any script
				}
				if field.get("type") != "hidden" && field.get("dir") != "ltr" {
					t.Errorf("%s: what is typed into %s runs with the language", it.name, field.get("name"))
				}
			}
			isolated(t, it.name, doc, ada, "203.0.113.0/24", "login.example.com", "042917", "WDJB-MJHT", "invalid_request")
		}
	})
}

func TestTheMailInEveryLanguage(t *testing.T) {
	s, sentences := site(t), english(t)
	forEachLanguage(t, func(t *testing.T, lang, dir string) {
		for name, m := range mails() {
			m.Locale = lang
			subject, text, page, err := s.LoginMail(m)
			if err != nil {
				t.Fatal(err)
			}
			if appName(m.Client) == "Intranet" && (columns(subject) > 70 || !strings.Contains(subject, "Intranet")) {
				t.Errorf("%s: subject %q", name, subject)
			}
			doc := parse(t, page)
			if root := doc.tags("html")[0]; root.get("lang") != lang || root.get("dir") != dir {
				t.Errorf("%s: lang %q, dir %q", name, root.get("lang"), root.get("dir"))
			}
			// Some mail readers show the body alone.
			if table := doc.tags("table")[0]; table.get("lang") != lang || table.get("dir") != dir {
				t.Errorf("%s: the body does not name its language and direction", name)
			}
			speaks(t, name, doc.text(), lang, sentences)
			isolated(t, name, doc, ada, "203.0.113.0/24", m.Link)
			speaks(t, name+": text", strings.Join(strings.Fields(text), " "), lang, sentences)
			for line := range strings.Lines(text) {
				if line = strings.TrimSuffix(line, "\n"); line != m.Link && columns(line) >= 78 || line != strings.TrimRight(line, " ") {
					t.Errorf("%s: RFC 5322 §2.1.1: %d columns: %q", name, columns(line), line)
				}
			}
			if dir == "rtl" && name == "mail" && !strings.Contains(text, "\u2068"+m.To+"\u2069") {
				t.Errorf("%s: the address is not isolated in\n%s", name, text)
			}
			if !strings.Contains(text, "2026") || !strings.Contains(text, "UTC") || !strings.Contains(text, "12:00") {
				t.Errorf("%s: when it was asked for is not told:\n%s", name, text)
			}
		}
	})
}

// speaks checks that a text is in a language, filled in, and not in English.
func speaks(t *testing.T, name, text, lang string, sentences map[string]string) {
	t.Helper()
	if strings.ContainsAny(text, "{}\ue000\ue001") || strings.Contains(text, "no value") {
		t.Errorf("%s: a leftover of a template: %s", name, text)
	}
	for key, sentence := range sentences {
		if lang != "en" && strings.Contains(text, sentence) {
			t.Errorf("%s: %s is said in English: %s", name, key, sentence)
		}
	}
	scripts := map[string]*unicode.RangeTable{"ar": unicode.Arabic, "he": unicode.Hebrew, "ja": unicode.Hiragana, "uk": unicode.Cyrillic, "zh-Hans": unicode.Han}
	if table := scripts[lang]; table != nil && text != "" && !strings.ContainsFunc(text, func(r rune) bool { return unicode.Is(table, r) }) {
		t.Errorf("%s: nothing is in the script of %s: %s", name, lang, text)
	}
}

// isolated checks that what runs from left to right in every language says so
// wherever it stands.
func isolated(t *testing.T, name string, doc *node, values ...string) {
	t.Helper()
	for d := range doc.Descendants() {
		if d.Type != html.TextNode || d.Parent.Data == "title" || !slices.Contains(values, d.Data) {
			continue
		}
		if (&node{d.Parent}).get("dir") != "ltr" {
			t.Errorf("%s: %s stands in <%s> and may be turned round", name, d.Data, d.Parent.Data)
		}
	}
}

func TestDatesInTheFormOfTheLanguage(t *testing.T) {
	s := site(t)
	for lang, want := range map[string]string{
		"en": "2 March 2026, 12:00 UTC", "de": "2. März 2026, 12:00 Uhr UTC", "fr": "2 mars 2026 à 12:00 UTC", "es": "2 de marzo de 2026, 12:00 UTC",
		"it": "2 marzo 2026, 12:00 UTC", "pt": "2 de março de 2026, 12:00 UTC", "nl": "2 maart 2026, 12:00 UTC", "pl": "2 marca 2026, 12:00 UTC",
		"uk": "2 березня 2026 р., 12:00 UTC", "tr": "2 Mart 2026 12:00 UTC", "ja": "2026年3月2日 12:00（UTC）", "zh-Hans": "2026年3月2日 12:00（UTC）",
		"ar": "2 مارس 2026، 12:00 UTC", "he": "2 במרץ 2026, 12:00 UTC",
	} {
		have, err := s.languages.get(lang).At(noon)
		if err != nil || have != want {
			t.Errorf("%s: %q, %v, want %q", lang, have, err, want)
		}
	}
}

func TestDurationsInTheFormOfTheLanguage(t *testing.T) {
	s := site(t)
	for _, tc := range []struct {
		lang    string
		minutes time.Duration
		want    string
	}{
		{"pl", 1, "za 1 minutę"}, {"pl", 3, "za 3 minuty"}, {"pl", 5, "za 5 minut"}, {"pl", 12, "za 12 minut"}, {"pl", 22, "za 22 minuty"},
		{"uk", 1, "1 хвилину"}, {"uk", 2, "2 хвилини"}, {"uk", 11, "11 хвилин"}, {"uk", 21, "21 хвилину"}, {"uk", 25, "25 хвилин"},
		{"ar", 1, "دقيقة واحدة"}, {"ar", 2, "دقيقتين"}, {"ar", 3, "3 دقائق"}, {"ar", 11, "11 دقيقة"}, {"ar", 100, "100 دقيقة"},
		{"he", 1, "דקה אחת"}, {"he", 2, "שתי דקות"}, {"he", 20, "20 דקות"},
		{"ja", 1, "1分後"}, {"fr", 2, "2 minutes"}, {"tr", 5, "5 dakika"},
	} {
		if have, err := s.languages.get(tc.lang).Span("limited.wait", tc.minutes*time.Minute); err != nil || !strings.Contains(have, tc.want) {
			t.Errorf("%s: %q, %v, want %q", tc.lang, have, err, tc.want)
		}
	}
}

func TestBrowsersInTheWordsOfTheLanguage(t *testing.T) {
	s := site(t)
	for _, tc := range []struct{ lang, agent, want string }{
		{"en", "Firefox on Linux", "Firefox on Linux"},
		{"de", "Firefox on Linux", "Firefox unter Linux"},
		{"de", "A browser on macOS", "Ein Browser unter macOS"},
		{"de", "A browser", "Ein Browser"},
		{"fr", "A web view on iPhone", "Le navigateur d’une application sur iPhone"},
		{"ja", "Chrome on Android", "Android の Chrome"},
		{"ja", "curl", "curl"},
		{"ja", "", ""},
	} {
		if have, err := s.languages.get(tc.lang).Agent(tc.agent); err != nil || have != tc.want {
			t.Errorf("%s: %q: %q, %v, want %q", tc.lang, tc.agent, have, err, tc.want)
		}
	}
}

func TestTextIsFoldedWhereItsScriptAllows(t *testing.T) {
	long := strings.Repeat("リンクを開いてください。", 8)
	folded := wrap(long+"\n", "")
	for line := range strings.Lines(folded) {
		line = strings.TrimSuffix(line, "\n")
		if columns(line) > 76 || strings.HasPrefix(line, "。") {
			t.Errorf("%d columns: %q", columns(line), line)
		}
	}
	if strings.ReplaceAll(folded, "\n", "") != long {
		t.Error("the words changed")
	}
}

func FuzzLocale(f *testing.F) {
	f.Add("de-AT, fr;q=0.5", "ja", "uk")
	f.Add("\x00,;q=", "-", "*")
	s, err := New(branding)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, accept, wanted, cookie string) {
		r := WithLocales(asked("/login"), wanted)
		r.Header["Accept-Language"], r.Header["Cookie"] = []string{accept}, []string{languageCookie + "=" + cookie}
		if lang := s.Locale(r, accept); !slices.Contains(Languages(), lang) {
			t.Errorf("%q", lang)
		}
	})
}
