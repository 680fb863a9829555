package sqlite

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

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

// allowed is nil when the user has allowed the client all that is in list, or
// list is nil.
func allowed(tx *tx, userID, clientID string, list []string) error {
	if list == nil {
		return nil
	}
	var c storage.Consent
	if err := tx.get(consentOf, args{userID, clientID}, consentFields(&c)...); err != nil {
		return err
	}
	if slices.ContainsFunc(list, func(s string) bool { return !slices.Contains(c.Scopes, s) }) {
		return storage.ErrNotFound
	}
	return nil
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
		scopes := sorted(slices.Concat(before.Scopes, c.Scopes))
		if err == nil && slices.Equal(scopes, before.Scopes) && !before.At.Before(c.At.Truncate(time.Microsecond)) {
			return nil
		}
		if err := tx.one(saveConsent, c.UserID, c.ClientID, list(scopes), moment(c.At)); err != nil {
			return err
		}
		return tx.log(storage.Event{At: c.At, Name: storage.EventConsentGiven, UserID: c.UserID, ClientID: c.ClientID, Detail: strings.Join(sorted(c.Scopes), " ")})
	})
}

// sorted gives scopes in order, each once.
func sorted(scopes []string) []string { return slices.Compact(slices.Sorted(slices.Values(scopes))) }
