package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/oschwald/maxminddb-golang/v2"
)

// longestPlace is how many characters a place may have: what a page shows of it
// and the network is 60.
const longestPlace = 38

// places tells about where an address is, by the database in a file, which is
// read again when it changed. All of it is kept in memory: a file that is
// written over while it is mapped would end the process.
type places struct {
	file   string
	logger *slog.Logger

	db      atomic.Pointer[maxminddb.Reader]
	reading sync.Mutex
	seen    time.Time // modification time of what was read, or couldn't be
}

// openPlaces reads the database for the first time.
func openPlaces(file string, logger *slog.Logger) (*places, error) {
	p := &places{file: file, logger: logger}
	info, err := os.Stat(file)
	if err == nil {
		p.seen = info.ModTime()
		var db *maxminddb.Reader
		db, err = readPlaces(file)
		p.db.Store(db)
	}
	if err != nil {
		return nil, fmt.Errorf("geoip_file: %q: %w", file, err)
	}
	return p, nil
}

func readPlaces(file string) (*maxminddb.Reader, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", errors.Unwrap(err))
	}
	db, err := maxminddb.OpenBytes(content)
	if err != nil {
		return nil, fmt.Errorf("is no database in MaxMind's format: %w", err)
	}
	if kind := db.Metadata.DatabaseType; !strings.Contains(kind, "City") && !strings.Contains(kind, "Country") {
		return nil, fmt.Errorf("is a database of the type %s; take one of cities or countries", kind)
	}
	return db, nil
}

// current gives the database of the file as it is now, or that of before while
// another call reads it. When the new one is unreadable, the old one stays, and
// the log says so once.
func (p *places) current() *maxminddb.Reader {
	if !p.reading.TryLock() {
		return p.db.Load()
	}
	defer p.reading.Unlock()
	info, err := os.Stat(p.file)
	if err != nil || info.ModTime().Equal(p.seen) { // none: it is being replaced
		return p.db.Load()
	}
	p.seen = info.ModTime()
	db, err := readPlaces(p.file)
	if err != nil {
		p.logger.Warn("geoip_file: the one of before stays", "error", err)
		return p.db.Load()
	}
	p.db.Store(db)
	makeRoom() // it may be larger by far than the one of before
	return db
}

// namesIn are the languages of names in these databases where they are not
// called as ours are.
var namesIn = map[string]string{"pt": "pt-BR", "zh-Hans": "zh-CN"}

// place names the city and the country of an address, such as "Berlin,
// Germany", in a language, or else in English; "" when nothing is known.
func (p *places) place(addr netip.Addr, language string) string {
	found := p.current().Lookup(addr)
	if !found.Found() {
		return ""
	}
	name := func(what string) string {
		for _, lang := range []string{cmp.Or(namesIn[language], language), "en"} {
			var name string
			if found.DecodePath(&name, what, "names", lang) == nil && name != "" {
				return name
			}
		}
		return ""
	}
	city, country := name("city"), name("country")
	if city == "" || country == "" {
		return fitting(cmp.Or(city, country))
	}
	return fitting(city+", "+country, city, country)
}

// fitting gives the first text that is short enough.
func fitting(texts ...string) string {
	for _, s := range texts {
		if utf8.RuneCountInString(s) <= longestPlace {
			return s
		}
	}
	return ""
}
