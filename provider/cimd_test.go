package provider

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/storage"
)

// Client ID Metadata Document §3.
func TestDocumentIDs(t *testing.T) {
	t.Parallel()
	for id, want := range map[string][2]bool{ // on the internet, on a loopback issuer
		"https://app.example.com/client.json":          {true, true},
		"https://app.example.com:8443/":                {true, true},
		"https://app.example.com/client?v=1":           {true, true},
		"https://app.example.com":                      {},
		"https://app.example.com?x=/":                  {},
		"https:///client.json":                         {},
		"https:app.example.com/client.json":            {},
		"HTTPS://app.example.com/client.json":          {},
		"https://app.example.com/client.json#x":        {},
		"https://app.example.com/client.json#":         {},
		"https://u@app.example.com/client.json":        {},
		"https://u:p@app.example.com/client.json":      {},
		"https://app.example.com/./client.json":        {},
		"https://app.example.com/a/../client.json":     {},
		"https://app.example.com/a/%2e%2E/client.json": {},
		"https://app.example.com/..":                   {},
		`https://app.example.com\@evil.example.com/`:   {},
		"https://app.example.com/a b":                  {},
		"https://" + strings.Repeat("a", 60) + ".com/": {},
		"http://app.example.com/client.json":           {},
		"http://localhost:8081/client.json":            {false, true},
		"http://127.0.0.1/client.json":                 {false, true},
		"http://localhost.example.com/client.json":     {},
		"ftp://app.example.com/client.json":            {},
		"app":                                          {},
		"":                                             {},
	} {
		if isDocumentID(id, false) != want[0] || isDocumentID(id, true) != want[1] {
			t.Errorf("%q: %v %v, want %v", id, isDocumentID(id, false), isDocumentID(id, true), want)
		}
	}
}

const documentID = "https://app.example.com/client.json"

// documentOf is a good document, changed by pairs.
func documentOf(id string, pairs ...any) []byte {
	return must(json.Marshal(claimSet{
		"client_id": id, "client_name": "App", "redirect_uris": []string{"https://app.example.com/cb"}, "token_endpoint_auth_method": "none",
	}.with(pairs...)))
}

// Client ID Metadata Document §4, §4.1.
func TestDocumentClient(t *testing.T) {
	t.Parallel()
	keyed := []any{"token_endpoint_auth_method", "private_key_jwt", "jwks", jwks(signerOf("app", jose.ES256))}
	for name, c := range map[string]struct {
		body []byte
		want string // part of the error
	}{
		"a public client":                   {documentOf(documentID), ""},
		"a method that goes without saying": {documentOf(documentID, "token_endpoint_auth_method", nil), ""},
		"one with keys":                     {documentOf(documentID, keyed...), ""},
		"members that mean nothing here":    {documentOf(documentID, "x", 1, "logo_uri", "https://app.example.com/logo.png", "consent", "skip", "profile", "fapi2"), ""},
		"another client_id":                 {documentOf(documentID, "client_id", documentID+"?"), "client_id"},
		"no client_id":                      {documentOf(documentID, "client_id", nil), "client_id"},
		"a client_id that is no text":       {documentOf(documentID, "client_id", []string{documentID}), "client_id"},
		"a secret":                          {documentOf(documentID, "client_secret", "x"), "secret"},
		"a secret that expires":             {documentOf(documentID, "client_secret_expires_at", 0), "secret"},
		"client_secret_basic":               {documentOf(documentID, "token_endpoint_auth_method", "client_secret_basic"), "neither none nor private_key_jwt"},
		"client_secret_post":                {documentOf(documentID, "token_endpoint_auth_method", "client_secret_post"), "neither none nor private_key_jwt"},
		"client_secret_jwt":                 {documentOf(documentID, "token_endpoint_auth_method", "client_secret_jwt"), "neither none nor private_key_jwt"},
		"no redirect_uris":                  {documentOf(documentID, "redirect_uris", nil), "redirect_uris"},
		"an unsafe redirect URI":            {documentOf(documentID, "redirect_uris", []string{"javascript:alert(1)"}), "redirect_uris"},
		"a member twice":                    {[]byte(`{"client_id":"` + documentID + `","client_id":"` + documentID + `"}`), ""},
		"no object":                         {[]byte(`[]`), "object"},
		"nothing":                           {nil, "JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			client, err := documentClient(documentID, c.body, false)
			if name == "a member twice" || name == "no object" || name == "nothing" {
				if err == nil {
					t.Error("taken")
				}
				return
			}
			wantErr(t, err, c.want)
			if err == nil && (client.LogoURI != "" || client.ID != documentID || client.Consent != "ask" || client.Profile != "openid" || client.ClaimsInIDToken()) {
				t.Errorf("%+v", client)
			}
		})
	}
}

// Client ID Metadata Document §8.5: a name cannot pretend to be of another host.
func TestDocumentNames(t *testing.T) {
	t.Parallel()
	for id, names := range map[string][2]string{
		documentID:                             {"App", "app.example.com (App)"},
		"https://app.example.com:8443/":        {"", "app.example.com:8443"},
		"https://evil.example.net/google.com/": {"Google", "evil.example.net (Google)"},
	} {
		if have := documentName(id, names[0]); have != names[1] {
			t.Errorf("%s: %q, want %q", id, have, names[1])
		}
	}
}

// publishedClient is a host with a document that can change.
type publishedClient struct {
	*remote
	id       string
	document atomic.Pointer[[]byte] // nil: it is down
}

func newPublishedClient(t *testing.T) *publishedClient {
	p := &publishedClient{}
	p.remote = newRemote(t, func(w http.ResponseWriter, _ *http.Request) {
		body := p.document.Load()
		if body == nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "max-age=600")
		_, _ = w.Write(*body)
	})
	p.id = p.URL + "/client.json"
	p.publish()
	return p
}

func (p *publishedClient) publish(pairs ...any) {
	body := documentOf(p.id, pairs...)
	p.document.Store(&body)
}

func documents(c *Config) { c.ClientDocuments = true }

// A client that nobody registered signs a person in.
func TestClientOfADocument(t *testing.T) {
	t.Parallel()
	host := newPublishedClient(t)
	w := newWorld(t, documents, reaching(host.remote))
	b := w.signedIn("ada@example.com")
	ask := func() answer {
		return b.authorize(host.id, "redirect_uri", "https://app.example.com/cb", "code_challenge", challenge, "code_challenge_method", "S256", "prompt", "consent")
	}
	page := ask()
	page.isPage(200, "consent", "")
	if name := strings.TrimPrefix(host.URL, "https://") + " (App)"; !strings.Contains(page.body, name) {
		t.Errorf("the page does not say %q", name)
	}
	f := page.forms["consent-allow"]
	rec := b.serveUnregistered(b.request("POST", f.action, f.fields))
	code := strings.TrimPrefix(strings.SplitN(rec.Header().Get("Location"), "&", 2)[0], "https://app.example.com/cb?code=")
	g := w.granted(w.send(newRequest("POST", "/token", params("client_id", host.id,
		"grant_type", "authorization_code", "code", code, "redirect_uri", "https://app.example.com/cb", "code_verifier", verifier))))
	if g.claims["aud"] != host.id {
		t.Errorf("aud %v", g.claims["aud"])
	}
	if host.hits.Load() != 1 {
		t.Errorf("it was fetched %d times", host.hits.Load())
	}

	w.run("RFC 7636: it is public, and needs PKCE", func(t *testing.T) {
		rec := b.serveUnregistered(b.request("GET", "/authorize", params("response_type", "code", "client_id", host.id, "redirect_uri", "https://app.example.com/cb")))
		if !strings.Contains(rec.Header().Get("Location"), "error=invalid_request") {
			t.Errorf("%d %s", rec.Code, rec.Header().Get("Location"))
		}
	})
	w.run("Client ID Metadata Document §5.2: believed for as long as it says", func(*testing.T) {
		host.publish("redirect_uris", []string{"https://app.example.com/other"})
		w.clock.pass(9 * time.Minute)
		ask().isPage(200, "consent", "")
		w.clock.pass(2 * time.Minute)
		ask().isPage(400, "error", "invalid_request")
	})
	w.run("Client ID Metadata Document §5.2: a bad one is not, longer than a minute", func(*testing.T) {
		host.publish("redirect_uris", []string{"javascript:alert(1)"})
		w.clock.pass(11 * time.Minute)
		ask().isPage(400, "error", "invalid_client")
		host.publish()
		w.clock.pass(59 * time.Second)
		ask().isPage(400, "error", "invalid_client")
		w.clock.pass(time.Second)
		ask().isPage(200, "consent", "")
	})
	w.run("a host that is away says nothing about the client", func(*testing.T) {
		host.document.Store(nil)
		w.clock.pass(25 * time.Hour)
		ask().isPage(503, "error", "temporarily_unavailable")
		host.publish()
		w.clock.pass(time.Minute)
		ask().isPage(200, "consent", "")
	})
}

// Without the setting an address is an id that nobody registered, and nothing is
// fetched.
func TestClientDocumentsAreOff(t *testing.T) {
	t.Parallel()
	host := newPublishedClient(t)
	for _, on := range []bool{false, true} {
		w := newWorld(t, reaching(host.remote), func(c *Config) { c.ClientDocuments = on })
		supported := w.send(newRequest("GET", "/.well-known/openid-configuration", nil)).json["client_id_metadata_document_supported"]
		if supported == true != on || !on && supported != nil {
			t.Errorf("client_id_metadata_document_supported %v", supported)
		}
		if !on {
			w.browser().authorize(host.id, "redirect_uri", "https://app.example.com/cb").isPage(400, "error", "invalid_client")
			if host.hits.Load() != 0 {
				t.Error("it was fetched")
			}
		}
	}
}

// What cannot be had is refused, and the log says why.
func TestDocumentsThatAreRefused(t *testing.T) {
	t.Parallel()
	host := newRemote(t, func(w http.ResponseWriter, r *http.Request) {
		id := "https://" + r.Host + r.URL.Path
		switch r.URL.Path {
		case "/html":
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write(documentOf(id))
		case "/long":
			answerJSON(w, r)
			_, _ = io.WriteString(w, strings.Repeat(" ", 11<<10))
		case "/away":
			http.Redirect(w, r, "/client", http.StatusFound)
		default:
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(documentOf("https://other.example.com/"))
		}
	})
	w := newWorld(t, documents, reaching(host))
	for path, why := range map[string]string{"/html": "media type", "/long": "too large", "/away": "redirects", "/client": "client_id is not the address"} {
		w.browser().authorize(host.URL+path).isPage(400, "error", "invalid_client")
		if !strings.Contains(w.logged.String(), why) {
			t.Errorf("%s: the log does not say %q", path, why)
		}
	}
	if _, err := w.provider.clients.get(context.Background(), "https://10.0.0.1/client.json"); !errors.Is(err, errFetchNetwork) {
		t.Errorf("a network that is not public: %v", err)
	}
	r := httptest.NewRequest("POST", issuer+"/token", strings.NewReader("grant_type=authorization_code&client_id="+host.URL+"/html"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w.send(r).is(401, "invalid_client")
}

// A client of the settings or the database is not looked for elsewhere.
func TestRegisteredClientsAreNotFetched(t *testing.T) {
	t.Parallel()
	host := newPublishedClient(t)
	w := newWorld(t, documents, reaching(host.remote), func(c *Config) {
		c.Clients = append(c.Clients, storage.Client{ID: host.id, Name: "Known", RedirectURIs: []string{"https://known.example.com/"}})
	})
	if c, err := w.provider.clients.get(context.Background(), host.id); err != nil || c.Name != "Known" || host.hits.Load() != 0 {
		t.Errorf("%v %v", c.Name, err)
	}
}

// Pages name a client without asking its host.
func TestDescribedClients(t *testing.T) {
	t.Parallel()
	host := newPublishedClient(t)
	w := newWorld(t, documents, reaching(host.remote))
	describe := func(id, want string) {
		t.Helper()
		if c, err := w.provider.Describe(t.Context(), id); err != nil || c.Name != want {
			t.Errorf("%s is %q, %v, want %q", id, c.Name, err, want)
		}
	}
	name := strings.TrimPrefix(host.URL, "https://")
	describe("web", "App web")
	describe(host.id, name)
	if host.hits.Load() != 0 {
		t.Errorf("it was fetched %d times", host.hits.Load())
	}
	if _, err := w.provider.clients.get(t.Context(), host.id); err != nil {
		t.Fatal(err)
	}
	describe(host.id, name+" (App)")
	for _, id := range []string{"nobody", "", "\x00"} {
		if _, err := w.provider.Describe(t.Context(), id); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%q: %v", id, err)
		}
	}
}
