package templates

import (
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/nicksnyder/go-i18n/v2/i18n"
	"go.yaml.in/yaml/v3"
)

// catalogue reads the keys of messages/en.yaml.
func catalogue(t *testing.T) map[string]bool {
	t.Helper()
	source, err := fs.ReadFile(files, "messages/en.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file, err := i18n.ParseMessageFileBytes(source, "en.yaml", map[string]i18n.UnmarshalFunc{"yaml": yaml.Unmarshal})
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	for _, m := range file.Messages {
		keys[m.ID] = true
	}
	return keys
}

func TestEveryMessageExistsAndIsUsed(t *testing.T) {
	used := map[string]bool{}
	plain := regexp.MustCompile(`\.[TH][ (]"([a-zA-Z._-]+)"`)
	span := regexp.MustCompile(`\.Span[ (]"([a-z.-]+)"`)
	fact := regexp.MustCompile(`\{"(fact\.[a-z]+)"`)
	sources, _ := filepath.Glob("*.go")
	for _, folder := range []string{"pages/*", "mails/*"} {
		more, err := filepath.Glob(folder)
		if err != nil || len(more) == 0 {
			t.Fatalf("%s: %d files, %v", folder, len(more), err)
		}
		sources = append(sources, more...)
	}
	for _, name := range sources {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range append(plain.FindAllSubmatch(source, -1), fact.FindAllSubmatch(source, -1)...) {
			used[string(m[1])] = true
		}
		for _, m := range span.FindAllSubmatch(source, -1) {
			for _, unit := range []string{"seconds", "minutes", "hours"} {
				used[string(m[1])+"."+unit] = true
			}
		}
	}
	delete(used, "scope.") // completed below
	for _, s := range scopes {
		used["scope."+s] = true
	}
	for _, f := range append([]string{"app"}, failures...) {
		used["failure."+f+".title"], used["failure."+f+".lead"] = true, true
	}
	for m := time.January; m <= time.December; m++ {
		used[fmt.Sprintf("month.%d", m)] = true
	}
	there := catalogue(t)
	for _, key := range slices.Sorted(maps.Keys(used)) {
		if !there[key] {
			t.Errorf("%s is used, but not in the catalogue", key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(there)) {
		if !used[key] {
			t.Errorf("%s is in the catalogue, but not used", key)
		}
	}
}

// abroad is the package's files and one more language.
type abroad struct{ more fstest.MapFS }

func (a abroad) Open(name string) (fs.File, error) {
	if _, ok := a.more[name]; ok {
		return a.more.Open(name)
	}
	return files.Open(name)
}

func (a abroad) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := files.ReadDir(name)
	more, _ := a.more.ReadDir(name)
	return append(entries, more...), err
}

func TestALanguageIsOneMoreFile(t *testing.T) {
	s, err := newFrom(abroad{fstest.MapFS{"messages/ar.yaml": {Data: []byte(`
login: {title: تسجيل الدخول, lead: "للمتابعة إلى {{.App}}"}
limited:
  wait:
    minutes: {zero: z, one: o, two: دقيقتان, few: "{{.Count}} دقائق", many: "{{.Count}} دقيقة", other: x}
`)}}}, branding)
	if err != nil {
		t.Fatal(err)
	}
	show := func(p Page, accept string) (*node, http.Header) {
		r := httptest.NewRequest(http.MethodGet, "/login", nil)
		r.Header.Set("Accept-Language", accept)
		w := httptest.NewRecorder()
		s.Render(w, r, http.StatusOK, p)
		return parse(t, w.Body.String()), w.Header()
	}
	doc, header := show(Login{Client: intranet}, "ar-EG,en;q=0.5")
	root := doc.tags("html")[0]
	if root.get("lang") != "ar" || root.get("dir") != "rtl" || doc.tags("h1")[0].text() != "تسجيل الدخول" {
		t.Errorf("lang %q, dir %q, title %q", root.get("lang"), root.get("dir"), doc.tags("h1")[0].text())
	}
	if !strings.Contains(doc.text(), "Email address") {
		t.Error("what is not translated is not said in English")
	}
	if header.Get("Vary") != "Accept-Language" {
		t.Errorf("Vary %q", header.Get("Vary"))
	}
	for minutes, want := range map[time.Duration]string{2: "دقيقتان", 3: "3 دقائق", 11: "11 دقيقة"} {
		doc, _ := show(Limited{RetryAfter: minutes * time.Minute}, "ar")
		if got := doc.tags("p")[0].text(); got != want {
			t.Errorf("%d minutes: %q, want %q", minutes, got, want)
		}
	}
	if subject, _, html, err := s.LoginMail(LoginMail{Locale: "ar", Asked: noon, Expires: noon}); err != nil || subject == "" || !strings.Contains(html, `lang="ar" dir="rtl"`) {
		t.Errorf("mail: %q, %v", subject, err)
	}
	r := httptest.NewRequest(http.MethodGet, "/authorize", nil)
	r.Header.Set("Accept-Language", "en")
	for _, tc := range []struct{ name, uiLocales, want string }{
		{"OIDC Core §3.1.2.1: ui_locales come first", "ar", "ar"},
		{"in the order of preference", "fr ar en", "ar"},
		{"none that there is", "fr", "en"},
		{"nonsense", "\x00,;q", "en"},
		{"none", "", "en"},
	} {
		if got := s.Locale(r, tc.uiLocales); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestSentences(t *testing.T) {
	w := site(t).languages.words[0]
	if got, err := w.H("sent.leadApp", "Email", `<b>{{.App}}`, "App", "A&B"); err != nil || got != "We sent a link to <bdi>&lt;b&gt;{{.App}}</bdi> to sign in to <bdi>A&amp;B</bdi>." {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := w.T("no.such.message"); err == nil {
		t.Error("a message that is not there is said")
	}
	for d, want := range map[time.Duration]string{
		0:                 "Try again in 0 seconds.",
		1:                 "Try again in 1 second.",
		59 * time.Second:  "Try again in 59 seconds.",
		time.Minute:       "Try again in 1 minute.",
		time.Minute + 1:   "Try again in 2 minutes.",
		100 * time.Minute: "Try again in 100 minutes.",
		3*time.Hour + 1:   "Try again in 4 hours.",
	} {
		if got, err := w.Span("limited.wait", d); err != nil || got != want {
			t.Errorf("%v: %q, %v, want %q", d, got, err, want)
		}
	}
}
