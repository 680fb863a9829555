package hostile

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	chromium "github.com/sealpost/sealpost/test/browser"
	"github.com/sealpost/sealpost/test/world"
)

func TestMain(m *testing.M) {
	world.WithoutRace()
	os.Exit(world.RunTests(m))
}

// agents are scanners, previews and robots, by what they say they are.
var agents = []string{
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 Edg/120.0.0.0", // Safe Links looks like this
	"Mozilla/5.0 (compatible; Barracuda Sentinel)",
	"Mimecast-URL-Protect/1.0",
	"Mozilla/5.0 (Windows NT 6.1; WOW64) AppleWebKit/534+ (KHTML, like Gecko) BingPreview/1.0b",
	"Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
	"facebookexternalhit/1.1", "WhatsApp/2.23.20.0", "Google-Read-Aloud", "curl/8.5.0", "",
}

// mailbox is a link on its way to a person, who waits in a browser of their own.
type mailbox struct {
	*world.World
	link   string
	person *world.Browser
	asked  time.Time
}

// hostiles are what opens the link before the person does. Each gives the
// address that the person finds in the mail then.
var hostiles = []struct {
	name string
	open func(t *testing.T, m mailbox) (found string)
}{
	{"HEAD", head},
	{"GET, by many names", get},
	{"Chromium that runs the page's scripts", browse},
	{"a robot that sends every form", pressEverything},
	{"a link rewriter", rewrite},
	{"a link rewriter that adds to the address", decorate},
	{"a prefetch by the person's own browser", prefetch},
	{"a gateway, 20 seconds later, from another network", later},
	{"two at once", twice},
}

func TestHostileMail(t *testing.T) {
	for _, h := range hostiles {
		t.Run(h.name, func(t *testing.T) {
			world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
				admin := "127.0.0.1:" + world.FreePort(t)
				w.Start(map[string]any{"admin_listen": admin, "trusted_proxies": []string{"127.0.0.0/8"}})
				eve := w.Person("Eve")
				m := mailbox{World: w, person: w.Browser(world.Firefox), asked: time.Now()}
				login := w.App.Begin()
				_, letter := m.person.Ask(login, eve)
				m.link = letter.Link

				found := h.open(t, m)
				if n := len(w.Events("signed-in")); n > 0 {
					t.Fatalf("%d are signed in", n)
				}
				if opened(t, admin) == 0 {
					t.Error("the operator cannot see that the link was opened")
				}
				confirm := m.person.Open(found).MustBe("confirm", http.StatusOK)
				if !confirm.Auto("confirm") {
					t.Error("the person has to press a button")
				}
				got := login.Finish(m.person.Submit(confirm, "confirm"))
				if got.Claims.Email != eve || len(w.Events("signed-in")) != 1 {
					t.Errorf("the application knows %q", got.Claims.Email)
				}
			})
		})
	}
}

// opened is how often links were opened, as the metrics tell.
func opened(t *testing.T, admin string) (n int) {
	t.Helper()
	response, err := http.Get("http://" + admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		if rest, ok := strings.CutPrefix(line, "sealpost_links_opened_total{"); ok {
			_, value, _ := strings.Cut(strings.TrimSpace(rest), "} ")
			count, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			n += count
		}
	}
	return n
}

func head(t *testing.T, m mailbox) string {
	if p, err := m.Browser(agents[0]).Request(http.MethodHead, m.link, nil); err != nil || p.Status != http.StatusOK {
		t.Errorf("%d, %v", p.Status, err)
	}
	return m.link
}

func get(t *testing.T, m mailbox) string {
	for _, agent := range agents {
		scanner := m.Browser(agent)
		if scanner.Open(m.link).MustBe("other-browser", http.StatusOK).Auto("confirm") || scanner.SignedIn() {
			t.Errorf("%q is asked to confirm, or signed in", agent)
		}
	}
	return m.link
}

// browse lets the page's scripts run for a while, with cookies, and comes back.
func browse(t *testing.T, m mailbox) string {
	tab := world.NewProfile(m.World, chromium.Start(t), true).Tab("scanner")
	for range 2 {
		tab.Open(m.link)
		tab.Shows("[data-page=other-browser]")
		tab.Until("time that the scripts had", "performance.now() > 2500")
		tab.Shows("[data-page=other-browser]")
	}
	return m.link
}

// pressEverything sends every form of every page it comes to, links included.
func pressEverything(t *testing.T, m mailbox) string {
	robot := m.Browser(agents[0])
	pages, seen := []world.Page{robot.Open(m.link)}, map[string]bool{}
	for pressed := 0; len(pages) > 0 && pressed < 40; {
		p := pages[0]
		pages = pages[1:]
		for _, form := range p.Forms() {
			if key := p.At.Path + " " + p.Name() + " " + form; seen[key] {
				continue
			} else {
				seen[key] = true
			}
			pressed++
			if next, err := robot.Post(p, form); err == nil && next.At.Host == p.At.Host {
				pages = append(pages, next)
			}
		}
	}
	if !seen["/login other-browser show-code"] || !seen["/login other-browser not-me"] {
		t.Errorf("it pressed %v", seen)
	}
	if robot.SignedIn() {
		t.Error("the robot is signed in")
	}
	return m.link
}

// rewriter is a server that stands before every link of a mail: it looks at the
// page first, and then sends on who clicked.
func rewriter(t *testing.T, m mailbox, change func(string) string) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target := change(r.URL.Query().Get("u"))
		m.Browser(agents[2]).Open(target).MustBe("other-browser", http.StatusOK)
		http.Redirect(w, r, target, http.StatusFound)
	}))
	t.Cleanup(server.Close)
	wrapped := server.URL + "/s/abc?" + url.Values{"u": {m.link}, "c": {"1"}}.Encode()
	m.Browser(agents[2]).Open(m.link) // when the mail came in
	return wrapped
}

func rewrite(t *testing.T, m mailbox) string {
	return rewriter(t, m, func(link string) string { return link })
}

// decorate percent-encodes what needs none and adds parameters, as some do.
func decorate(t *testing.T, m mailbox) string {
	return rewriter(t, m, func(link string) string {
		at, token, _ := strings.Cut(link, "token=")
		return at + "utm_source=mail&token=" + fmt.Sprintf("%%%02X", token[0]) + token[1:] + "&utm_campaign=x#a"
	})
}

func prefetch(t *testing.T, m mailbox) string {
	ahead := m.person.Copy()
	ahead.Header = http.Header{"Sec-Purpose": {"prefetch;prerender"}, "Purpose": {"prefetch"}}
	if ahead.Open(m.link).MustBe("confirm", http.StatusOK).Auto("confirm") {
		t.Error("a prerendered page would complete the login")
	}
	return m.link
}

func later(t *testing.T, m mailbox) string {
	time.Sleep(time.Until(m.asked.Add(20 * time.Second))) // as long as such a gateway takes
	gateway := m.Browser(agents[1])
	gateway.Header = http.Header{"X-Forwarded-For": {"203.0.113.7"}}
	gateway.Open(m.link).MustBe("other-browser", http.StatusOK)
	return m.link
}

func twice(t *testing.T, m mailbox) string {
	var both sync.WaitGroup
	for range 2 {
		scanner := m.Browser(agents[3])
		both.Go(func() {
			if p, err := scanner.Request(http.MethodGet, m.link, nil); err != nil || p.Status != http.StatusOK {
				t.Errorf("%d, %v", p.Status, err)
			}
		})
	}
	both.Wait()
	return m.link
}
