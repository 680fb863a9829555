package e2e

import (
	"net/http"
	"strings"
	"testing"
)

func TestStartWithAnotherSecretIsRefusedAndLosesNothing(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		in := w.start(nil)
		pia, b := w.person("Pia"), w.browser(firefox)
		login := w.app.begin()
		_, letter := b.ask(login, pia)
		got := login.finish(b.submit(b.open(letter.Link), "confirm"))
		_, keys := w.send(http.MethodGet, w.issuer+"/jwks", "", nil)
		in.stop()

		wrong := newSecret()
		w.seen.secret("secret", wrong)
		refused := w.launch(map[string]any{"secret": wrong})
		refused.ends(1)
		said := refused.log.String()
		if !strings.Contains(said, "secret") || !strings.Contains(said, "last used with") {
			t.Errorf("it does not say what to do: %s", said)
		}

		w.start(nil)
		if _, again := w.send(http.MethodGet, w.issuer+"/jwks", "", nil); again != keys {
			t.Errorf("the keys changed:\n%s\n%s", keys, again)
		}
		silent := w.app.begin()
		if silent.finish(b.open(silent.address)).id.Subject != got.id.Subject {
			t.Error("the session is another person's")
		}
		if _, err := login.refresh(got.token); err != nil {
			t.Errorf("refresh: %v", err)
		}
	})
}
