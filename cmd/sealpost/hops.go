package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sealpost/sealpost/keys"
)

// doctorHeader is how sealpost doctor asks a running server what of a request
// arrives behind the proxies. It proves that the caller has the secret.
const doctorHeader = "Sealpost-Doctor"

// doctorMayBe is how far the clocks of both may be apart.
const doctorMayBe = 5 * time.Minute

func doctorToken(secret keys.Secret, issuer string, now time.Time) string {
	at := strconv.FormatInt(now.Unix(), 10)
	return at + "." + hex.EncodeToString(secret.MAC("doctor", []byte(issuer), []byte(at)))
}

// asksAsDoctor says whether a token is of somebody who has the secret.
func asksAsDoctor(secret keys.Secret, issuer, token string, now time.Time) bool {
	at, proof, _ := strings.Cut(token, ".")
	seconds, err := strconv.ParseInt(at, 10, 64)
	mac, malformed := hex.DecodeString(proof)
	if errors.Join(err, malformed) != nil || len(mac) != sha256.Size || now.Sub(time.Unix(seconds, 0)).Abs() > doctorMayBe {
		return false
	}
	return secret.CheckMAC("doctor", mac, []byte(issuer), []byte(at))
}

// hops is what a server sees of a request of sealpost doctor.
type hops struct {
	Peer      string   `json:"peer"`      // who connected
	Trusted   bool     `json:"trusted"`   // whether trusted_proxies has it
	Forwarded []string `json:"forwarded"` // whom X-Forwarded-For names, or Forwarded; of the one that counts
	Client    string   `json:"client"`    // who counts as the caller
}

// tellHops answers sealpost doctor at /healthz, before anything else sees the
// request.
func tellHops(secret keys.Secret, issuer string, trusted []netip.Prefix, now func() time.Time) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			token := r.Header.Get(doctorHeader)
			if token == "" || r.URL.Path != "/healthz" || !asksAsDoctor(secret, issuer, token, now()) {
				next.ServeHTTP(w, r)
				return
			}
			peer, _ := parseAddr(r.RemoteAddr)
			seen := hops{
				Peer: peer.String(), Forwarded: forwardedHops(r),
				Trusted: slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(peer) }),
			}
			realAddress(trusted)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				client, _ := parseAddr(r.RemoteAddr)
				seen.Client = client.String()
			})).ServeHTTP(w, r)
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "no-store")
			_ = json.NewEncoder(w).Encode(seen) // to who may be gone
		})
	}
}
