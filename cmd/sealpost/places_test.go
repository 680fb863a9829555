package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// names are those of a city or a country by language.
type names map[string]string

// placesOf writes a database of cities; of each network there are the names of
// its city and its country.
func placesOf(kind string, networks map[string][2]names) ([]byte, error) {
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: kind, RecordSize: 24, IncludeReservedNetworks: true})
	if err != nil {
		return nil, err
	}
	for network, found := range networks {
		_, ipnet, err := net.ParseCIDR(network)
		if err != nil {
			return nil, err
		}
		record := mmdbtype.Map{}
		for i, what := range []mmdbtype.String{"city", "country"} {
			all := mmdbtype.Map{}
			for lang, name := range found[i] {
				all[mmdbtype.String(lang)] = mmdbtype.String(name)
			}
			if len(all) > 0 {
				record[what] = mmdbtype.Map{"names": all}
			}
		}
		if err := tree.Insert(ipnet, record); err != nil {
			return nil, err
		}
	}
	var out bytes.Buffer
	_, err = tree.WriteTo(&out)
	return out.Bytes(), err
}

var germany = names{"en": "Germany", "de": "Deutschland", "pt-BR": "Alemanha", "zh-CN": "德国"}

func writePlaces(t *testing.T, file, kind string, networks map[string][2]names) {
	t.Helper()
	content, err := placesOf(kind, networks)
	if err != nil {
		t.Fatal(err)
	}
	if err := replace(file, content); err != nil {
		t.Fatal(err)
	}
}

func TestPlaces(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cities.mmdb")
	writePlaces(t, file, "DBIP-City-Lite", map[string][2]names{
		"203.0.113.0/24":    {names{"en": "Berlin"}, germany},
		"198.51.100.0/25":   {nil, germany},
		"198.51.100.128/25": {names{"en": "Atlantis"}, nil},
		"192.0.2.0/25":      {names{"en": "Santiago de los Caballeros"}, names{"en": "Dominican Republic"}},
		"192.0.2.128/25":    {names{"en": strings.Repeat("x", 39)}, nil},
		"2001:db8::/32":     {names{"en": "Köln", "de": "Köln am Rhein"}, germany},
	})
	p, err := openPlaces(file, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ addr, language, want string }{
		{"203.0.113.7", "en", "Berlin, Germany"},
		{"203.0.113.7", "de", "Berlin, Deutschland"},
		{"203.0.113.7", "pt", "Berlin, Alemanha"},
		{"203.0.113.7", "zh-Hans", "Berlin, 德国"},
		{"203.0.113.7", "ar", "Berlin, Germany"},
		{"203.0.113.7", "", "Berlin, Germany"},
		{"198.51.100.7", "en", "Germany"},
		{"198.51.100.200", "en", "Atlantis"},
		{"192.0.2.1", "en", "Santiago de los Caballeros"}, // with the country it is too long
		{"192.0.2.200", "en", ""},
		{"2001:db8::1", "de", "Köln am Rhein, Deutschland"},
		{"127.0.0.1", "en", ""},
		{"2001:db9::1", "en", ""},
	} {
		if have := p.place(netip.MustParseAddr(c.addr), c.language); have != c.want {
			t.Errorf("%s in %q: have %q, want %q", c.addr, c.language, have, c.want)
		}
	}
	if have := p.place(netip.Addr{}, "en"); have != "" {
		t.Errorf("no address is in %q", have)
	}
}

// TestPlacesAreReadAgain when the file changed; what is unreadable then changes
// nothing.
func TestPlacesAreReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cities.mmdb")
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	write := func(do func()) {
		t.Helper()
		do()
		at = at.Add(time.Hour)
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	of := func(city string) func() {
		return func() {
			writePlaces(t, file, "GeoLite2-City", map[string][2]names{"203.0.113.0/24": {names{"en": city}, nil}})
		}
	}
	write(of("Berlin"))
	var log safeBuffer
	p, err := openPlaces(file, newLogger(&log, slog.LevelInfo))
	if err != nil {
		t.Fatal(err)
	}
	want := func(when, want string) {
		t.Helper()
		if have := p.place(netip.MustParseAddr("203.0.113.7"), "en"); have != want {
			t.Errorf("%s: have %q, want %q", when, have, want)
		}
	}
	want("at first", "Berlin")
	write(of("Potsdam"))
	want("replaced", "Potsdam")
	write(func() {
		if err := os.WriteFile(file, []byte("half of it"), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	want("damaged", "Potsdam")
	want("still damaged", "Potsdam")
	if have := strings.Count(log.String(), "geoip_file: the one of before stays"); have != 1 {
		t.Errorf("the log says it %d times: %s", have, log.String())
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	want("removed", "Potsdam")
	write(of("Berlin"))
	want("mended", "Berlin")
}

func TestWhatIsNoPlaces(t *testing.T) {
	dir := t.TempDir()
	writePlaces(t, filepath.Join(dir, "asn.mmdb"), "GeoLite2-ASN", map[string][2]names{})
	for name, want := range map[string]string{
		"asn.mmdb":     "is a database of the type GeoLite2-ASN; take one of cities or countries",
		"nowhere.mmdb": "no such file",
		"text.mmdb":    "is no database in MaxMind's format",
	} {
		if name == "text.mmdb" {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("text"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s := settingsOf(t, "sqlite")
		s.GeoIPFile = filepath.Join(dir, name)
		_, err := build(t.Context(), &process{stderr: &safeBuffer{}, now: time.Now}, s, nil, nil)
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("geoip_file: %q: ", s.GeoIPFile)) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
