package sqlite

import (
	"context"
	"errors"
	"slices"

	"github.com/sealpost/sealpost/storage"
)

const consentOf = `SELECT user_id, client_id, scopes, at FROM consents WHERE user_id = ?1 AND client_id = ?2`

func consentFields(c *storage.Consent) []any {
	return []any{&c.UserID, &c.ClientID, (*list)(&c.Scopes), (*moment)(&c.At)}
}

// Consent finds what the user allowed the client.
func (db *DB) Consent(ctx context.Context, userID, clientID string) (c storage.Consent, err error) {
	err = db.get(ctx, consentOf, args{userID, clientID}, consentFields(&c)...)
	return c, err
}

const saveConsent = `INSERT INTO consents (user_id, client_id, scopes, at) VALUES (?1, ?2, ?3, ?4)
	ON CONFLICT (user_id, client_id) DO UPDATE SET scopes = excluded.scopes, at = max(consents.at, excluded.at)`

// SaveConsent adds scopes to what the user allowed the client.
func (db *DB) SaveConsent(ctx context.Context, c storage.Consent) error {
	return db.write(ctx, func(tx *tx) error {
		var before storage.Consent
		err := tx.get(consentOf, args{c.UserID, c.ClientID}, consentFields(&before)...)
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
		scopes := slices.Concat(before.Scopes, c.Scopes)
		slices.Sort(scopes)
		return tx.one(saveConsent, c.UserID, c.ClientID, list(slices.Compact(scopes)), moment(c.At))
	})
}
