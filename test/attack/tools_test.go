package attack

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/sealpost/sealpost/test/world"
)

var (
	promptLogin   = oauth2.SetAuthURLParam("prompt", "login")
	maxAge        = oauth2.SetAuthURLParam("max_age", "3600")
	promptConsent = oauth2.SetAuthURLParam("prompt", "consent")
	sameOrigin    = http.Header{"Sec-Fetch-Site": {"same-origin"}}
)

// answered is what came of a request that no page would have sent.
type answered struct {
	Status int
	Answer string // Location
}

// post sends a form of the attacker's making with a browser's cookies.
func post(b *world.Browser, to string, form url.Values, header http.Header) (answered, error) {
	r, err := http.NewRequest(http.MethodPost, to, strings.NewReader(form.Encode()))
	if err != nil {
		return answered{}, err
	}
	r.Header = header.Clone()
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("User-Agent", b.Agent)
	got, err := b.Client.Do(r)
	if err != nil {
		return answered{}, err
	}
	return answered{got.StatusCode, got.Header.Get("Location")}, got.Body.Close()
}

// cookie is one of a browser's cookies for the provider.
func cookie(t *testing.T, w *world.World, b *world.Browser, name string) string {
	t.Helper()
	at, err := url.Parse(w.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range b.Client.Jar.Cookies(at) {
		if c.Name == name {
			return c.Value
		}
	}
	t.Fatalf("there is no cookie %s", name)
	return ""
}

// sendMagicLink asks for a link with no application waiting.
func sendMagicLink(w *world.World, email string) {
	w.T.Helper()
	answer, body := w.Send(http.MethodPost, w.Issuer+"/send-magic-link", `{"email":`+strconv.Quote(email)+`}`, map[string]string{"Content-Type": "application/json"})
	if answer.StatusCode != http.StatusOK {
		w.T.Fatalf("POST /send-magic-link: %s %s", answer.Status, body)
	}
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }
