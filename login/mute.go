package login

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/sealpost/sealpost/templates"
)

// muteFor is how long mails that nobody asked for are kept away.
const muteFor = time.Hour

// mute is the form that follows "This wasn't me": for a while nobody has mails
// sent to the address, save from a browser in which it was proven before. A
// robot that presses every button ticks no box.
func (l *Login) mute(w http.ResponseWriter, r *http.Request, form url.Values) error {
	k, err := l.openLink(r, form.Get("token"))
	if err != nil {
		return l.noLink(w, r, err)
	}
	if k.attempt.ClosedAt.IsZero() {
		return invalidRequest("Only who has said that it wasn't them can have mails stopped.")
	}
	if form.Get("sure") != "yes" {
		return l.notMePage(w, r, http.StatusBadRequest, k, "not-sure")
	}
	now := l.cfg.Now()
	if err := l.cfg.Store.Mute(r.Context(), k.attempt.ID, now, now.Add(muteFor)); err != nil {
		return fmt.Errorf("mute: %w", err)
	}
	l.log(r, slog.String("event", "muted"))
	return l.render(w, r, http.StatusOK, templates.Cancelled{Client: l.client(r, k.attempt), Email: k.attempt.Email, NotMe: true, Muted: true})
}
