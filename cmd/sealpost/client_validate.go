package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/sealpost/sealpost/login"
	"github.com/sealpost/sealpost/provider"
	"github.com/sealpost/sealpost/storage"
)

func clientKey(i int, name string) string { return fmt.Sprintf("clients[%d].%s", i, name) }

// validateClients checks the clients of the file and turns their secrets into
// hashes.
func (s *Settings) validateClients(wrong *problems) {
	seen := map[string]bool{}
	for i := range s.Clients {
		c := &s.Clients[i]
		if c.Secret != "" {
			if c.SecretSHA256 != "" {
				*wrong = append(*wrong, fmt.Errorf("%s and client_secret_sha256 are both set; keep one", clientKey(i, "client_secret")))
			}
			if len(c.Secret) < minClientSecret && !s.loopbackIssuer() {
				*wrong = append(*wrong, fmt.Errorf("%s has %d characters: use %d or more, letters and digits at random",
					clientKey(i, "client_secret"), len(c.Secret), minClientSecret))
			}
			c.SecretSHA256 = hashClientSecret(string(c.Secret))
		}
		for _, problem := range checkClient(c.Client, s.loopbackIssuer()) {
			*wrong = append(*wrong, fmt.Errorf("clients[%d] %q: %w", i, c.ID, problem))
		}
		if seen[c.ID] && c.ID != "" {
			wrong.add(clientKey(i, "client_id"), c.ID, "another client has this id")
		}
		seen[c.ID] = true
	}
}

// minClientSecret refuses what is no secret, save on an instance for one
// machine. A hash cannot tell a weak one.
const minClientSecret = 8

func hashClientSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// checkClient says everything that is wrong with a client. loopback allows plain
// http to loopback hosts. Patterns of addresses are login's to judge.
func checkClient(c storage.Client, loopback bool) []error {
	var wrong problems
	for _, e := range provider.CheckClient(c, provider.ClientRules{Loopback: loopback}) {
		wrong = append(wrong, e)
	}
	if err := login.CheckPatterns(c.Allow); err != nil {
		wrong.add("allow", strings.Join(c.Allow, ", "), "%v", err)
	}
	return wrong
}
