package main

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/go-chi/chi/v5"
)

// restartKeys are the settings, with all below them, that count from the next
// start on: what is opened once, and what all instances that share a database
// must agree about.
var restartKeys = []string{
	"issuer", "listen", "tls", "admin_listen", "database", "database_file", "migrate",
	"secret", "secret_file", "previous_secrets", "previous_secrets_file", "tokens", "keys",
}

// routes is where requests go. It is exchanged while the server runs.
type routes struct{ atomic.Pointer[chi.Router] }

// ServeHTTP passes a request on.
func (r *routes) ServeHTTP(w http.ResponseWriter, req *http.Request) { (*r.Load()).ServeHTTP(w, req) }

// again reads the settings again and gives the instance that goes on with them,
// to which requests go from now on. It is nil when they are wrong: nothing
// changes then.
func (in *instance) again() *instance {
	s, err := in.reread()
	if err != nil {
		in.logger.Error("settings refused, those of before stay", "error", err)
		return nil
	}
	if left := s.keep(&in.settings); len(left) > 0 {
		in.logger.Warn("settings that need a restart", "keys", strings.Join(left, ", "))
	}
	next, err := in.with(s)
	if err != nil {
		in.logger.Error("settings refused, those of before stay", "error", err)
		return nil
	}
	open := next.router()
	in.routes.Store(&open)
	in.level.Set(min(in.level.Level(), s.level())) // either wants to hear of it
	return next
}

// keep takes what needs a restart from the settings of before and says which of
// it has changed.
func (s *Settings) keep(before *Settings) (changed []string) {
	now, old := reflect.ValueOf(s).Elem(), reflect.ValueOf(before).Elem()
	for f := range fieldsOf(now.Type()) {
		if !slices.Contains(restartKeys, f.name) {
			continue
		}
		if have, had := now.FieldByIndex(f.index), old.FieldByIndex(f.index); !reflect.DeepEqual(have.Interface(), had.Interface()) {
			changed = append(changed, f.name)
			have.Set(had)
		}
	}
	return changed
}
