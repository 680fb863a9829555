package storagetest

import (
	"time"

	"github.com/sealpost/sealpost/storage"
)

var backlogTests = []test{
	{name: "tells what is queued and since when", run: backlogOfMail},
	{name: "connections are bounded", run: connections},
}

func backlogOfMail(d *db) {
	wants := func(what string, want storage.Backlog) {
		d.Helper()
		got, err := d.Backlog(d.Context())
		d.must(err)
		same(d, what, got, want)
	}
	finish := func(id string, o storage.MailOutcome) {
		d.Helper()
		o.ID = id
		d.must(d.FinishMail(d.Context(), []storage.MailOutcome{o}, t0))
	}
	wants("an empty database", storage.Backlog{})
	later := t0.Add(time.Second)
	first, _ := d.queue(t0)
	second, _ := d.queue(t0, func(m *storage.Mail) { m.CreatedAt = later })
	wants("two mails", storage.Backlog{Mails: 2, OldestMail: t0})
	finish(first.ID, storage.MailOutcome{State: storage.MailSent})
	wants("one is sent", storage.Backlog{Mails: 1, OldestMail: later})
	finish(second.ID, storage.MailOutcome{State: storage.MailQueued, NextAt: t0.Add(time.Hour)})
	wants("the other waits for another try", storage.Backlog{Mails: 1, OldestMail: later})
	finish(second.ID, storage.MailOutcome{State: storage.MailFailed})
	d.notice("client") // of a login whose mail nobody has sent
	wants("a logout is to be told", storage.Backlog{Mails: 1, OldestMail: t0, Notices: 1})
}

func connections(d *db) {
	if _, err := d.Backlog(d.Context()); err != nil {
		d.Fatal(err)
	}
	if c := d.Connections(); c.Max < 1 || c.InUse != 0 || c.Idle < 1 || c.Idle > c.Max {
		d.Errorf("%+v", c)
	}
}
