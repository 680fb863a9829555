package fault

import (
	"net/http"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sealpost/sealpost/test/world"
)

// full takes all room for files from a process, or gives it back: a limit on
// the size of its files that no write keeps. That the disk says ENOSPC and not
// EFBIG makes another error of SQLite, which sqlite.TestFullDatabase has.
func full(t testing.TB, in *world.Instance, yes bool) {
	t.Helper()
	limit := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	if yes {
		limit.Cur = 0
	}
	if err := unix.Prlimit(in.PID(), unix.RLIMIT_FSIZE, &limit, nil); err != nil {
		t.Fatal(err)
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	w := world.New(t, "sqlite")
	w.Troubled = true
	in, ada := w.Start(nil), newPerson(w, "Ada")
	without := func(try func()) {
		full(t, in, true)
		try()
		full(t, in, false)
	}
	login := w.App.Begin()
	form := ada.Open(login.Address).MustBe("login", http.StatusOK)
	without(func() { unavailable(t, ada.submit(form, "email", "email", ada.address)) })
	held, release := w.Mail.HoldNext()
	tab := ada.Submit(form, "email", "email", ada.address).MustBe("sent", http.StatusOK)
	world.Await(t, "mail", held)
	var letter world.Letter
	without(func() { // what became of the mail can't be written
		release()
		letter = w.Mail.Next(ada.address)
		in.Says("mail that is not recorded", func(r world.Record) bool { return r.Text("msg") == "mail outcomes not written" })
		ada.Open(letter.Link).MustBe("confirm", http.StatusOK) // it can be read
	})
	link := ada.Open(letter.Link).MustBe("confirm", http.StatusOK)
	without(func() { unavailable(t, ada.submit(link, "confirm")) })
	code := ada.Submit(link, "confirm").Answer().Get("code")
	without(func() {
		_, err := login.Redeem(code)
		unavailableToo(t, "code", err)
	})
	token, err := login.Redeem(code)
	if err != nil {
		t.Fatalf("redeem: %v", err)
	}
	without(func() {
		_, err := login.Refresh(token)
		unavailableToo(t, "refresh", err)
		silent := w.App.Begin() // writes nothing
		ada.Open(silent.Address).Answer()
	})
	if _, err := login.Refresh(token); err != nil {
		t.Errorf("refresh: %v", err)
	}
	ada.MovesOn(tab).MustBe("signed-in", http.StatusOK)
	in.Stop()
	w.Hold()
	if n := len(w.Mail.To(ada.address)); n != 1 {
		t.Errorf("%d mails, want 1", n)
	}
}
