package e2e

import (
	"net/http"
	"testing"

	"github.com/sealpost/sealpost/test/world"
)

func TestMailQueuedRightBeforeAStopIsSentOnce(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		in := w.Start(nil)
		mia, b := w.Person("Mia"), w.Browser(world.Firefox)
		login := w.App.Begin()
		b.Submit(b.Open(login.Address), "email", "email", mia).MustBe("sent", http.StatusOK)
		in.Stop()
		if n := len(w.Mail.To(mia)); n != 1 {
			t.Errorf("%d mails when the process had stopped, want 1", n)
		}
		sendsNothingMore(w, w.Start(nil))
		if n := len(w.Mail.To(mia)); n != 1 {
			t.Errorf("%d mails to one person", n)
		}
	})
}

func TestStopWaitsForTheMailThatIsUnderWay(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		in := w.Start(nil)
		ned, b := w.Person("Ned"), w.Browser(world.Firefox)
		held, release := w.Mail.HoldNext()
		login := w.App.Begin()
		b.Submit(b.Open(login.Address), "email", "email", ned).MustBe("sent", http.StatusOK)
		world.Await(t, "mail under way", held)
		in.Terminate()
		in.Says("stopping", func(r world.Record) bool { return r.Text("msg") == "stopping" })
		release()
		in.Ends(0)
		in = w.Start(nil)
		login.Finish(b.Submit(b.Open(w.Mail.Next(ned).Link).MustBe("confirm", http.StatusOK), "confirm"))
		sendsNothingMore(w, in)
		if n := len(w.Mail.To(ned)); n != 1 {
			t.Errorf("%d mails to one person", n)
		}
	})
}

func TestMailThatAStopCannotSendIsSentAfterTheNextStart(t *testing.T) {
	world.OnEveryEngine(t, func(t *testing.T, w *world.World) {
		w.Mail.Refuse(true)
		in := w.Start(nil)
		ora, b := w.Person("Ora"), w.Browser(world.Firefox)
		login := w.App.Begin()
		b.Submit(b.Open(login.Address), "email", "email", ora).MustBe("sent", http.StatusOK)
		in.Stop()
		if n := len(w.Mail.To(ora)); n != 0 {
			t.Fatalf("%d mails from a server that takes none", n)
		}
		w.Mail.Refuse(false)
		in = w.Start(nil)
		login.Finish(b.Submit(b.Open(w.Mail.Next(ora).Link).MustBe("confirm", http.StatusOK), "confirm"))
		sendsNothingMore(w, in)
		if n := len(w.Mail.To(ora)); n != 1 {
			t.Errorf("%d mails to one person", n)
		}
	})
}
