package main

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
)

// TestEndpointsPage holds docs/endpoints.md to the routes of a running
// instance that has everything switched on: every path, with the methods that
// it does not refuse.
func TestEndpointsPage(t *testing.T) {
	s := settingsOf(t, "sqlite")
	s.Registration.Dynamic, s.Registration.ClientIDMetadata = "open", "on"
	in, _ := buildInstance(t, s, time.Now, nil)
	t.Cleanup(func() { in.close() })
	page, err := os.ReadFile("../../docs/endpoints.md")
	if err != nil {
		t.Fatal(err)
	}
	public, admin, found := strings.Cut(string(page), "\n## The admin listener\n")
	if !found {
		t.Fatal("docs/endpoints.md has no section on the admin listener")
	}
	for _, of := range []struct {
		name, text string
		server     *http.Server
	}{{"public", public, in.servers[0]}, {"admin", admin, in.servers[1]}} {
		have, want := endpointsOfPage(t, of.text), endpointsOf(t, in, of.server)
		if len(want) == 0 {
			t.Fatalf("the %s listener has no routes", of.name)
		}
		for _, path := range slices.Sorted(maps.Keys(want)) {
			if have[path] != want[path] {
				t.Errorf("%s listener: %s takes %q, docs/endpoints.md says %q", of.name, path, want[path], have[path])
			}
		}
		for path := range have {
			if _, ok := want[path]; !ok {
				t.Errorf("docs/endpoints.md names %s, which the %s listener does not have", path, of.name)
			}
		}
	}
}

// endpointsOf gives the methods of each path. HEAD goes wherever GET does and
// is left out.
func endpointsOf(t *testing.T, in *instance, server *http.Server) map[string]string {
	t.Helper()
	paths := map[string]bool{}
	err := chi.Walk(routesOf(server), func(_, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		paths[route] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for path := range paths {
		var methods []string
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions} {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(method, in.settings.Issuer+strings.Replace(path, "*", "style.css", 1), nil)
			if strings.HasPrefix(path, "/debug/pprof/") { // who has left gets no profile of half a minute
				ctx, leave := context.WithCancel(t.Context())
				leave()
				r = r.WithContext(ctx)
			}
			server.Handler.ServeHTTP(w, r)
			if w.Code != http.StatusMethodNotAllowed {
				methods = append(methods, method)
			}
		}
		out[path] = strings.Join(methods, " ")
	}
	return out
}

var endpointRow = regexp.MustCompile("(?m)^\\| `(/[^`]*)` \\| ([A-Z ]+) \\|")

// endpointsOfPage reads the rows of the page that begin with a path and its
// methods.
func endpointsOfPage(t *testing.T, text string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, row := range endpointRow.FindAllStringSubmatch(text, -1) {
		if _, twice := out[row[1]]; twice {
			t.Errorf("docs/endpoints.md has %s twice", row[1])
		}
		out[row[1]] = row[2]
	}
	return out
}
