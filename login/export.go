package login

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

// export is GET /account/export: what is kept about a person, for them to keep.
// Sessions go by their public names: the ids that the database knows them by
// stay on the server.
func (l *Login) export(w http.ResponseWriter, r *http.Request) error {
	return l.asUser(w, r, http.StatusForbidden, func(login storage.Login, now time.Time) error {
		if !l.isFresh(r, login.Session, now) {
			return l.freshPage(w, r, login, nextExport, now)
		}
		file, err := Export(r.Context(), l.cfg, login.User, now)
		if err != nil {
			return err
		}
		l.log(r, slog.String("event", "exported"))
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Disposition", `attachment; filename="account.json"`)
		_, _ = w.Write(file) // to a browser that may be gone: nobody to tell
		return nil
	})
}

// Export is the file, JSON. Of cfg it takes Issuer, Accounts and Client.
func Export(ctx context.Context, cfg Config, u storage.User, now time.Time) ([]byte, error) {
	kept, err := cfg.keptAbout(ctx, u.ID, 0, now)
	if err != nil {
		return nil, err
	}
	var file bytes.Buffer
	e := json.NewEncoder(&file)
	e.SetIndent("", "  ")
	if err := e.Encode(exportOf(cfg.Issuer, u, kept, now)); err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	return file.Bytes(), nil
}

// exported is the file. Zero times are left out.
type exported struct {
	Issuer   string            `json:"issuer"`
	At       time.Time         `json:"exported_at"`
	User     exportedUser      `json:"user"`
	Sessions []exportedSession `json:"sessions"`
	Apps     []exportedApp     `json:"apps"`
	Events   []exportedEvent   `json:"events"`
}

type exportedUser struct {
	ID          string    `json:"id"`
	Email       string    `json:"email"`
	Name        string    `json:"name"`
	Locale      string    `json:"locale"`
	Groups      []string  `json:"groups"`
	CreatedAt   time.Time `json:"created_at,omitzero"`
	UpdatedAt   time.Time `json:"updated_at,omitzero"`
	LastLoginAt time.Time `json:"last_login_at,omitzero"`
}

type exportedSession struct {
	SID       string    `json:"sid"`
	Browser   string    `json:"browser"`
	Network   string    `json:"network"`
	AuthTime  time.Time `json:"auth_time"`
	CreatedAt time.Time `json:"created_at"`
	SeenAt    time.Time `json:"seen_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

type exportedApp struct {
	ClientID  string    `json:"client_id"`
	Name      string    `json:"name,omitempty"`
	Scopes    []string  `json:"scopes"`
	ConsentAt time.Time `json:"consent_at,omitzero"`
	GrantedAt time.Time `json:"granted_at,omitzero"`
	Offline   bool      `json:"offline"`
}

type exportedEvent struct {
	At       time.Time `json:"at"`
	Event    string    `json:"event"`
	Actor    string    `json:"actor,omitempty"`
	ClientID string    `json:"client_id,omitempty"`
	SID      string    `json:"sid,omitempty"`
	Agent    string    `json:"agent,omitempty"`
	Network  string    `json:"network,omitempty"`
	Detail   string    `json:"detail,omitempty"`
}

func exportOf(issuer string, u storage.User, k kept, now time.Time) exported {
	out := exported{
		Issuer: issuer, At: now.UTC(), Sessions: []exportedSession{}, Apps: []exportedApp{}, Events: []exportedEvent{},
		User: exportedUser{
			ID: u.ID, Email: u.Email, Name: u.Name, Locale: u.Locale, Groups: append([]string{}, u.Groups...),
			CreatedAt: u.CreatedAt, UpdatedAt: u.UpdatedAt, LastLoginAt: u.LastLoginAt,
		},
	}
	for _, s := range k.sessions {
		out.Sessions = append(out.Sessions, exportedSession{
			SID: keys.SID(s.ID), Browser: s.Browser, Network: s.Network,
			AuthTime: s.AuthTime, CreatedAt: s.CreatedAt, SeenAt: s.SeenAt, ExpiresAt: s.ExpiresAt,
		})
	}
	for _, a := range k.apps {
		out.Apps = append(out.Apps, exportedApp{
			ClientID: a.ClientID, Name: k.clients[a.ClientID].Name, Scopes: append([]string{}, a.Scopes...),
			ConsentAt: a.ConsentAt, GrantedAt: a.GrantedAt, Offline: a.Offline,
		})
	}
	for _, e := range k.events {
		event := exportedEvent{
			At: e.At, Event: string(e.Name), Actor: e.Actor, ClientID: e.ClientID, Agent: e.Agent, Network: e.Network, Detail: e.Detail,
		}
		if e.SessionID != "" {
			event.SID = keys.SID(e.SessionID)
		}
		out.Events = append(out.Events, event)
	}
	return out
}
