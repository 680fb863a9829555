//go:build integration

package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// code is a recipe of docs/integrations/code.md, with the addresses of the
// test: what begins a login, and what ends it.
func code(t testing.TB, w *world, rp relyingParty, kind string) (begin, callback string) {
	t.Helper()
	block := documented(t, "integrations/code.md", kind)[0]
	block = strings.NewReplacer("https://login.example.com", w.issuer, "https://app.example.com", rp.origin, `"intranet"`, `"application"`).Replace(block)
	begin, callback, found := strings.Cut(block, "// … and at the callback")
	if found {
		_, callback, _ = strings.Cut(callback, "\n")
	}
	return begin, callback
}

func TestRecipeOfNodeSignsIn(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		rp := w.relyingParty()
		w.start(rp.client(nil), nil)
		begin, callback := code(t, w, rp, "js")
		w.run(rp, node(t, "recipe.mjs"), map[string]any{"begin": begin, "callback": callback})
		lou := person("Lou")
		var got login
		w.browser().signIn(rp.origin+"/login", lou).says(&got)
		got.of(t, lou)
	})
}

func TestRecipeOfGoSignsIn(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		rp := w.relyingParty()
		w.start(rp.client(nil), nil)
		w.run(rp, goProgram(t, w, rp), nil)
		kay := person("Kay")
		var got login
		w.browser().signIn(rp.origin+"/login", kay).says(&got)
		got.of(t, kay)
	})
}

// goProgram is the recipe in what it leaves to its reader.
func goProgram(t testing.TB, w *world, rp relyingParty) *exec.Cmd {
	t.Helper()
	begin, callback := code(t, w, rp, "go")
	dir := t.TempDir()
	source := strings.NewReplacer("BEGIN", begin, "CALLBACK", callback).Replace(goAround)
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "application"), filepath.Join(dir, "main.go"))
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, source)
	}
	return exec.Command(filepath.Join(dir, "application"))
}

const goAround = `package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"sync"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

func main() {
	var settings struct {
		Listen string
		Secret string ` + "`json:\"client_secret\"`" + `
	}
	if err := json.Unmarshal([]byte(os.Getenv("RELYING_PARTY")), &settings); err != nil {
		log.Fatal(err)
	}
	ctx, secret := context.Background(), settings.Secret
	var callbacks sync.Map // by state
	http.HandleFunc("/ready", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		BEGIN
		if err != nil {
			log.Panic(err)
		}
		callbacks.Store(state, func(w http.ResponseWriter, r *http.Request) {
			CALLBACK
			if err != nil || idToken.Nonce != nonce {
				log.Panic(err)
			}
			info, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
			if err != nil {
				log.Panic(err)
			}
			var claims, userinfo map[string]any
			if idToken.Claims(&claims) != nil || info.Claims(&userinfo) != nil {
				log.Panic("claims that cannot be read")
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"claims": claims, "userinfo": userinfo, "token_type": token.TokenType})
		})
	})
	http.HandleFunc("/callback", func(w http.ResponseWriter, r *http.Request) {
		callback, _ := callbacks.LoadAndDelete(r.FormValue("state"))
		callback.(func(http.ResponseWriter, *http.Request))(w, r)
	})
	log.Fatal(http.ListenAndServe(settings.Listen, nil))
}
`
