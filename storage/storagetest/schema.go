package storagetest

import "sync"

var schemaTests = []test{
	{name: "an empty database is at 0 and Migrate brings it up to date", run: schemaUp, empty: true},
	{name: "asking for the version changes nothing", run: schemaVersion, empty: true},
	{name: "8 replicas migrate an empty database at once", run: schemaRace, empty: true},
	{name: "migrating again keeps what is there", run: schemaAgain},
	{name: "Ping answers, with a schema or without", run: schemaPing, empty: true},
}

func schemaUp(d *db) {
	at, newest, err := d.SchemaVersion(d.Context())
	d.must(err)
	if at != 0 || newest < 1 {
		d.Fatalf("got version %d of %d, want 0 of 1 or more", at, newest)
	}
	d.must(d.Migrate(d.Context()))
	d.wantUpToDate(d)
	d.signIn()
}

func (d *db) wantUpToDate(s Store) {
	d.Helper()
	at, newest, err := s.SchemaVersion(d.Context())
	d.must(err)
	if at != newest || newest < 1 {
		d.Fatalf("got version %d of %d", at, newest)
	}
}

func schemaVersion(d *db) {
	for range 2 {
		for _, s := range []Store{d.Store, d.again()} {
			at, _, err := s.SchemaVersion(d.Context())
			d.must(err)
			same(d, "version", at, 0)
		}
	}
}

func schemaRace(d *db) {
	var (
		errs  = make([]error, 8)
		start = make(chan struct{})
		all   sync.WaitGroup
		last  Store
	)
	for i := range errs {
		s := d.Store
		if i%4 > 0 { // some handles are shared
			s = d.again()
		}
		last = s
		all.Go(func() {
			<-start
			errs[i] = s.Migrate(d.Context())
		})
	}
	close(start)
	all.Wait()
	for _, err := range errs {
		d.must(err)
	}
	d.wantUpToDate(last)
	d.signIn()
}

func schemaAgain(d *db) {
	l := d.signIn()
	d.must(d.Migrate(d.Context()))
	d.must(d.again().Migrate(d.Context()))
	d.wantUpToDate(d)
	d.wantSession("before", l.Session.ID, t0, nil)
}

func schemaPing(d *db) {
	d.must(d.Ping(d.Context()))
	d.must(d.Migrate(d.Context()))
	d.must(d.Ping(d.Context()))
}
