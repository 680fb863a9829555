package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sealpost/sealpost/test/world"
)

func TestStartWithAnotherSecretIsRefusedAndLosesNothing(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		in := w.Start(nil)
		pia, b := w.Person("Pia"), w.Browser(world.Firefox)
		login := w.App.Begin()
		_, letter := b.Ask(login, pia)
		got := login.Finish(b.Submit(b.Open(letter.Link), "confirm"))
		_, keys := w.Send(http.MethodGet, w.Issuer+"/jwks", "", nil)
		in.Stop()

		wrong := world.NewSecret()
		w.Seen.Secret("secret", wrong)
		refused := w.Launch(map[string]any{"secret": wrong})
		refused.Ends(1)
		said := refused.Log.String()
		if !strings.Contains(said, "secret") || !strings.Contains(said, "last used with") {
			t.Errorf("it does not say what to do: %s", said)
		}

		w.Start(nil)
		if _, again := w.Send(http.MethodGet, w.Issuer+"/jwks", "", nil); again != keys {
			t.Errorf("the keys changed:\n%s\n%s", keys, again)
		}
		silent := w.App.Begin()
		if silent.Finish(b.Open(silent.Address)).Id.Subject != got.Id.Subject {
			t.Error("the session is another person's")
		}
		if _, err := login.Refresh(got.Token); err != nil {
			t.Errorf("refresh: %v", err)
		}
	})
}
