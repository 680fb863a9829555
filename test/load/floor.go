package main

import (
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"html"
	"log"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// floor is the least that an OpenID provider with a mailed link has to do, and
// none of what makes one safe: three commits for a login (link, link used with
// session and code, code used with grant), one signature for an ID token,
// requests sealed and not stored. It sends no mail: its page holds the link.
// It measures what a machine would allow, and is of no other use.
type floor struct {
	issuer    string
	store     floorStore
	seal      cipher.AEAD
	alg       string
	sign      func([]byte) []byte
	secret    [sha256.Size]byte
	stateless bool
}

// floorRow is what a link, a code and a grant hold.
type floorRow struct {
	Client, Redirect, Scope, State, Nonce, Challenge, Email string
	At                                                      int64
}

type floorStore interface {
	addLink(ctx context.Context, link, row []byte, ends int64) error
	link(ctx context.Context, link []byte, now int64) ([]byte, error)
	useLink(ctx context.Context, link, code, session []byte, now, ends int64) ([]byte, error)
	useCode(ctx context.Context, code, access, refresh []byte, now, ends int64) ([]byte, error)
	useRefresh(ctx context.Context, old, access, refresh []byte, ends int64) ([]byte, error)
	access(ctx context.Context, access []byte, now int64) ([]byte, error)
}

var b64 = base64.RawURLEncoding

func runFloor(args []string) {
	set := flag.NewFlagSet("floor", flag.ExitOnError)
	addr := set.String("addr", "", "where to listen")
	engine := set.String("engine", "sqlite", "sqlite or postgres")
	source := set.String("source", "", "file or URL")
	alg := set.String("alg", "RS256", "of ID tokens")
	stateless := set.Bool("stateless", false, "access tokens that are sealed, not stored")
	_ = set.Parse(args) // it exits
	f := &floor{issuer: "http://" + *addr, alg: *alg, secret: sha256.Sum256([]byte(clientSecret)), stateless: *stateless}
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	block, _ := aes.NewCipher(key)
	f.seal, _ = cipher.NewGCM(block)
	f.sign = signer(*alg)
	var err error
	if *engine == "postgres" {
		f.store, err = openFloorPostgres(*source)
	} else {
		f.store, err = openFloorSQLite(*source)
	}
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /authorize", f.authorize)
	mux.HandleFunc("POST /login", f.login)
	mux.HandleFunc("GET /link", f.showLink)
	mux.HandleFunc("POST /link", f.useLink)
	mux.HandleFunc("POST /token", f.token)
	mux.HandleFunc("GET /userinfo", f.userinfo)
	mux.HandleFunc("POST /introspect", f.introspect)
	log.Fatal(http.ListenAndServe(*addr, mux))
}

func signer(alg string) func([]byte) []byte {
	switch alg {
	case "RS256":
		k, _ := rsa.GenerateKey(rand.Reader, 2048)
		return func(in []byte) []byte {
			sum := sha256.Sum256(in)
			out, _ := rsa.SignPKCS1v15(nil, k, crypto.SHA256, sum[:])
			return out
		}
	case "ES256":
		k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		return func(in []byte) []byte {
			sum := sha256.Sum256(in)
			r, s, _ := ecdsa.Sign(rand.Reader, k, sum[:])
			out := make([]byte, 64)
			r.FillBytes(out[:32])
			s.FillBytes(out[32:])
			return out
		}
	case "EdDSA":
		_, k, _ := ed25519.GenerateKey(rand.Reader)
		return func(in []byte) []byte { return ed25519.Sign(k, in) }
	}
	log.Fatalf("unknown algorithm %q", alg)
	return nil
}

func (f *floor) sealed(v []byte) string {
	nonce := make([]byte, 12, 12+len(v)+16)
	_, _ = rand.Read(nonce)
	return b64.EncodeToString(f.seal.Seal(nonce, nonce, v, nil))
}

func (f *floor) opened(s string) ([]byte, error) {
	raw, err := b64.DecodeString(s)
	if err != nil || len(raw) < 28 {
		return nil, errors.New("not sealed here")
	}
	return f.seal.Open(nil, raw[:12], raw[12:], nil)
}

func fresh() (string, []byte) {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw)
	s := b64.EncodeToString(raw)
	return s, digest(s)
}

func digest(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}

func page(w http.ResponseWriter, format string, values ...any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<!doctype html><title>Floor</title>"+format, values...)
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (f *floor) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("client_id") != clientID || q.Get("redirect_uri") != redirectURI || q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	row, _ := json.Marshal(floorRow{Client: clientID, Redirect: redirectURI, Scope: q.Get("scope"), State: q.Get("state"), Nonce: q.Get("nonce"), Challenge: q.Get("code_challenge"), At: time.Now().Unix()})
	page(w, `<form method="post" action="/login"><input type="hidden" name="req" value="%s"><input name="email"><button>Go</button></form>`, f.sealed(row))
}

func (f *floor) login(w http.ResponseWriter, r *http.Request) {
	raw, err := f.opened(r.FormValue("req"))
	var row floorRow
	if err != nil || json.Unmarshal(raw, &row) != nil || !strings.Contains(r.FormValue("email"), "@") {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	row.Email = r.FormValue("email")
	kept, _ := json.Marshal(row)
	link, id := fresh()
	if err := f.store.addLink(r.Context(), id, kept, time.Now().Unix()+900); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	page(w, `<p data-link="%s">Sent.</p>`, link)
}

func (f *floor) showLink(w http.ResponseWriter, r *http.Request) {
	k := r.FormValue("k")
	if _, err := f.store.link(r.Context(), digest(k), time.Now().Unix()); err != nil {
		http.Error(w, "gone", http.StatusNotFound)
		return
	}
	page(w, `<form method="post" action="/link"><input type="hidden" name="k" value="%s"><button>Go</button></form>`, html.EscapeString(k))
}

func (f *floor) useLink(w http.ResponseWriter, r *http.Request) {
	code, codeID := fresh()
	session, sessionID := fresh()
	now := time.Now().Unix()
	raw, err := f.store.useLink(r.Context(), digest(r.FormValue("k")), codeID, sessionID, now, now+60)
	var row floorRow
	if err != nil || json.Unmarshal(raw, &row) != nil {
		http.Error(w, "gone", http.StatusNotFound)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: "session", Value: session, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, row.Redirect+"?"+url.Values{"code": {code}, "state": {row.State}, "iss": {f.issuer}}.Encode(), http.StatusSeeOther)
}

func (f *floor) proven(r *http.Request) bool {
	id, secret, ok := r.BasicAuth()
	sum := sha256.Sum256([]byte(secret))
	return ok && id == clientID && subtle.ConstantTimeCompare(sum[:], f.secret[:]) == 1
}

func (f *floor) token(w http.ResponseWriter, r *http.Request) {
	if !f.proven(r) {
		answerJSON(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
		return
	}
	access, accessID := fresh()
	refresh, refreshID := fresh()
	now := time.Now().Unix()
	var raw []byte
	var err error
	switch r.PostFormValue("grant_type") {
	case "authorization_code":
		raw, err = f.store.useCode(r.Context(), digest(r.PostFormValue("code")), accessID, refreshID, now, now+3600)
	case "refresh_token":
		raw, err = f.store.useRefresh(r.Context(), digest(r.PostFormValue("refresh_token")), accessID, refreshID, now+3600)
	default:
		err = errors.New("unknown grant")
	}
	var row floorRow
	if err == nil {
		err = json.Unmarshal(raw, &row)
	}
	if verifier := r.PostFormValue("code_verifier"); err == nil && verifier != "" {
		if sum := sha256.Sum256([]byte(verifier)); b64.EncodeToString(sum[:]) != row.Challenge || r.PostFormValue("redirect_uri") != row.Redirect {
			err = errors.New("another verifier")
		}
	}
	if err != nil {
		answerJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
		return
	}
	if f.stateless {
		access = f.sealed(raw)
	}
	answerJSON(w, http.StatusOK, map[string]any{"token_type": "Bearer", "expires_in": 3600, "access_token": access, "refresh_token": refresh, "id_token": f.idToken(row, now)})
}

func (f *floor) idToken(row floorRow, now int64) string {
	head := b64.EncodeToString([]byte(`{"alg":"` + f.alg + `","kid":"k","typ":"JWT"}`))
	claims, _ := json.Marshal(map[string]any{"iss": f.issuer, "sub": b64.EncodeToString(digest(row.Email)[:16]), "aud": row.Client, "nonce": row.Nonce,
		"iat": now, "exp": now + 3600, "auth_time": row.At, "email": row.Email, "email_verified": true})
	input := head + "." + b64.EncodeToString(claims)
	return input + "." + b64.EncodeToString(f.sign([]byte(input)))
}

func (f *floor) row(r *http.Request, access string) (row floorRow, err error) {
	var raw []byte
	if f.stateless {
		raw, err = f.opened(access)
	} else {
		raw, err = f.store.access(r.Context(), digest(access), time.Now().Unix())
	}
	if err == nil {
		err = json.Unmarshal(raw, &row)
	}
	return row, err
}

func (f *floor) userinfo(w http.ResponseWriter, r *http.Request) {
	row, err := f.row(r, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	if err != nil {
		answerJSON(w, http.StatusUnauthorized, map[string]string{"error": "invalid_token"})
		return
	}
	answerJSON(w, http.StatusOK, map[string]any{"sub": b64.EncodeToString(digest(row.Email)[:16]), "email": row.Email, "email_verified": true})
}

func (f *floor) introspect(w http.ResponseWriter, r *http.Request) {
	if !f.proven(r) {
		answerJSON(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
		return
	}
	row, err := f.row(r, r.PostFormValue("token"))
	if err != nil {
		answerJSON(w, http.StatusOK, map[string]bool{"active": false})
		return
	}
	answerJSON(w, http.StatusOK, map[string]any{"active": true, "client_id": row.Client, "scope": row.Scope, "sub": b64.EncodeToString(digest(row.Email)[:16])})
}

// runPlain serves one body of so many bytes: what net/http alone costs.
func runPlain(args []string) {
	set := flag.NewFlagSet("plain", flag.ExitOnError)
	addr := set.String("addr", "", "where to listen")
	size := set.Int("bytes", 2048, "length of the body")
	_ = set.Parse(args)
	body := []byte(`{"x":"` + strings.Repeat("a", max(0, *size-8)) + `"}`)
	log.Fatal(http.ListenAndServe(*addr, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	})))
}
