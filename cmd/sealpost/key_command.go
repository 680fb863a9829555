package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sealpost/sealpost/keys"
)

type keyCommand struct {
	List   keyList   `cmd:"" help:"List the signing keys and what each is good for."`
	Rotate keyRotate `cmd:"" help:"Make the next signing key before its time."`
}

// Help is shown by sealpost key --help.
func (keyCommand) Help() string {
	return `These commands work on the database, beside a running server, which notices within two minutes.
Keys are renewed by themselves (keys.rotate). A key is "next" while it is published and does not sign yet, "current"
while it signs, and "previous" while what it signed verifies.

  sealpost key list --config sealpost.yaml
  sealpost key rotate --config sealpost.yaml --alg ES256
  sealpost key rotate --config sealpost.yaml --now --json`
}

// keyFlags are the flags of every key command.
type keyFlags struct{ clientFlags }

// keyRing is what the settings say of the ring of signing keys.
func (s *Settings) keyRing(db keys.Store, secret keys.Secret, now func() time.Time) keys.Config {
	return keys.Config{
		Store: db, Secret: secret, Now: now,
		Rotate: time.Duration(s.Keys.Rotate), KeepFor: time.Duration(max(s.Tokens.AccessTTL, s.Tokens.IDTTL)),
	}
}

// shownKey is a signing key as the command line shows one.
type shownKey struct {
	ID        string     `json:"kid"`
	Algorithm string     `json:"alg"`
	State     keys.State `json:"state"`
	CreatedAt string     `json:"created_at"`
	SignsAt   string     `json:"signs_at"`
	GoneAt    string     `json:"gone_at,omitempty"`
}

func (f keyFlags) print(p *process, all []keys.Info) error {
	shown := []shownKey{}
	for _, k := range all {
		s := shownKey{ID: k.ID, Algorithm: k.Algorithm, State: k.State, CreatedAt: stamp(k.CreatedAt), SignsAt: stamp(k.SignsAt)}
		if !k.GoneAt.IsZero() {
			s.GoneAt = stamp(k.GoneAt)
		}
		shown = append(shown, s)
	}
	if f.JSON {
		return f.printJSON(p, shown)
	}
	table := newTable(p.stdout, "KID", "ALG", "STATE", "CREATED", "SIGNS_FROM", "GONE_AT")
	for _, k := range shown {
		if k.GoneAt == "" {
			k.GoneAt = "-"
		}
		table.row(k.ID, k.Algorithm, k.State, k.CreatedAt, k.SignsAt, k.GoneAt)
	}
	return table.flush()
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

type keyList struct{ keyFlags }

// Run lists the keys. It needs no secret.
func (c keyList) Run(p *process) error {
	return c.withStore(p, func(s Settings, db store) error {
		all, err := keys.List(p.ctx, s.keyRing(db, keys.Secret{}, p.now))
		if err != nil {
			return err
		}
		return c.print(p, all)
	})
}

type keyRotate struct {
	keyFlags
	Now bool   `help:"Let a new key sign as soon as every server has it, in two minutes, instead of in a day."`
	Alg string `placeholder:"ALG" help:"Of this algorithm alone: RS256, ES256, PS256 or EdDSA."`
}

// Run makes the next keys and shows them.
func (c keyRotate) Run(p *process) error {
	algorithms := keys.Algorithms
	if c.Alg != "" {
		algorithms = []jose.SignatureAlgorithm{jose.SignatureAlgorithm(c.Alg)}
		if !slices.Contains(keys.Algorithms, algorithms[0]) {
			return usageError{fmt.Errorf("--alg: %q: write one of %v", c.Alg, keys.Algorithms)}
		}
	}
	return c.withStore(p, func(s Settings, db store) error {
		if s.Secret == "" {
			return usageError{errors.New("secret is not set: give the one the server has")}
		}
		secret, err := s.secrets()
		if err != nil {
			return usageError{err}
		}
		ring, err := keys.Open(p.ctx, s.keyRing(db, secret, p.now))
		if err != nil {
			return err
		}
		var next []keys.Info
		began := p.now().Truncate(time.Microsecond) // as it is kept
		for _, alg := range algorithms {
			k, err := ring.Rotate(p.ctx, alg, c.Now)
			if err != nil {
				return err
			}
			if k.CreatedAt.Before(began) {
				fmt.Fprintf(p.stderr, "%s has its next key already; none was made\n", alg)
			}
			next = append(next, k)
		}
		return c.print(p, next)
	})
}
