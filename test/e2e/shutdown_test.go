package e2e

import (
	"net/http"
	"testing"
)

func TestMailQueuedRightBeforeAStopIsSentOnce(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		in := w.start(nil)
		mia, b := w.person("Mia"), w.browser(firefox)
		login := w.app.begin()
		b.submit(b.open(login.address), "email", "email", mia).is("sent", http.StatusOK)
		in.stop()
		if n := len(w.mail.to(mia)); n != 1 {
			t.Errorf("%d mails when the process had stopped, want 1", n)
		}
		w.sendsNothingMore(w.start(nil))
		if n := len(w.mail.to(mia)); n != 1 {
			t.Errorf("%d mails to one person", n)
		}
	})
}

func TestStopWaitsForTheMailThatIsUnderWay(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		in := w.start(nil)
		ned, b := w.person("Ned"), w.browser(firefox)
		held, release := w.mail.holdNext()
		login := w.app.begin()
		b.submit(b.open(login.address), "email", "email", ned).is("sent", http.StatusOK)
		await(t, "mail under way", held)
		in.terminate()
		in.says("stopping", func(r record) bool { return r.text("msg") == "stopping" })
		release()
		in.ends(0)
		in = w.start(nil)
		login.finish(b.submit(b.open(w.mail.next(ned).Link).is("confirm", http.StatusOK), "confirm"))
		w.sendsNothingMore(in)
		if n := len(w.mail.to(ned)); n != 1 {
			t.Errorf("%d mails to one person", n)
		}
	})
}

func TestMailThatAStopCannotSendIsSentAfterTheNextStart(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		w.mail.refuse(true)
		in := w.start(nil)
		ora, b := w.person("Ora"), w.browser(firefox)
		login := w.app.begin()
		b.submit(b.open(login.address), "email", "email", ora).is("sent", http.StatusOK)
		in.stop()
		if n := len(w.mail.to(ora)); n != 0 {
			t.Fatalf("%d mails from a server that takes none", n)
		}
		w.mail.refuse(false)
		in = w.start(nil)
		login.finish(b.submit(b.open(w.mail.next(ora).Link).is("confirm", http.StatusOK), "confirm"))
		w.sendsNothingMore(in)
		if n := len(w.mail.to(ora)); n != 1 {
			t.Errorf("%d mails to one person", n)
		}
	})
}
