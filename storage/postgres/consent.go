package postgres

import (
	"context"
	"slices"
	"strings"

	"github.com/sealpost/sealpost/storage"
)

const consentOf = `
	SELECT user_id, client_id, scopes, at FROM consents WHERE user_id = $1 AND client_id = $2`

// Consent finds what the user allowed the client: storage.ErrNotFound when that
// is nothing. The scopes are sorted.
func (db *DB) Consent(ctx context.Context, userID, clientID string) (c storage.Consent, err error) {
	err = db.get(ctx, "consent", []any{&c.UserID, &c.ClientID, words{&c.Scopes}, stamp{&c.At}}, consentOf, userID, clientID)
	slices.Sort(c.Scopes)
	c.Scopes = slices.Compact(c.Scopes)
	return c, err
}

// A list that brings nothing new is not appended, so that it cannot grow without
// end; what is in it twice goes when it is read.
const saveConsent = `
	WITH c AS (
		INSERT INTO consents AS c (user_id, client_id, scopes, at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (user_id, client_id) DO UPDATE SET
			scopes = CASE WHEN c.scopes @> excluded.scopes THEN c.scopes ELSE c.scopes || excluded.scopes END,
			at = greatest(c.at, excluded.at)
		WHERE NOT c.scopes @> excluded.scopes OR c.at < excluded.at
		RETURNING c.user_id, c.client_id
	)` + insertEvents + `
	SELECT $4::timestamptz, '` + string(storage.EventConsentGiven) + `', $5::text, user_id, client_id, '', '', '', $6::text FROM c`

// SaveConsent adds scopes to what the user allowed the client, and keeps the
// latest At.
func (db *DB) SaveConsent(ctx context.Context, c storage.Consent) error {
	_, err := db.exec(ctx, "save consent", saveConsent, c.UserID, c.ClientID, texts(c.Scopes), at(c.At), db.actor,
		strings.Join(slices.Compact(slices.Sorted(slices.Values(c.Scopes))), " "))
	return err
}
