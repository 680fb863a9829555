package main

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sealpost/sealpost/storage"
)

// Every series is in the docs, with its type and labels, and every one there is
// a running server's; so is each in the alerts and on the dashboard.
func TestObservabilityDocs(t *testing.T) {
	in, _ := buildInstance(t, settingsOf(t, "postgres"), time.Now, nil) // SQLite has no clock of its own
	request(in, "GET", "/login?token=unknown", nil)
	in.metrics.events.WithLabelValues("link-asked")
	in.metrics.mailed(storage.MailOutcome{State: storage.MailSent}, time.Second)
	in.metrics.done("sweep", time.Now())

	families, err := in.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	served := map[string]string{}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "sealpost_") {
			continue
		}
		var labels []string
		for _, l := range f.Metric[0].Label {
			labels = append(labels, l.GetName())
		}
		slices.Sort(labels)
		served[f.GetName()] = strings.ToLower(f.GetType().String()) + " " + strings.Join(labels, ",")
	}
	page := readText(t, "../../docs/observability.md")
	told := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(sealpost_\\w+)` \\| (\\w+) \\|([^|]*)\\|").FindAllStringSubmatch(page, -1) {
		labels := regexp.MustCompile(`\w+`).FindAllString(row[3], -1)
		slices.Sort(labels)
		told[row[1]] = row[2] + " " + strings.Join(labels, ",")
	}
	if len(served) == 0 || !maps.Equal(served, told) {
		t.Errorf("served %v\ntold   %v", served, told)
	}
	for _, file := range []string{"../../deploy/prometheus/alerts.yaml", "../../deploy/grafana/sealpost.json"} {
		names := regexp.MustCompile(`sealpost_\w+`).FindAllString(readText(t, file), -1)
		if len(names) == 0 {
			t.Errorf("%s names no series", file)
		}
		for _, name := range names {
			base := strings.TrimSuffix(name, "_bucket")
			if served[base] == "" || base != name && !strings.HasPrefix(served[base], "histogram") {
				t.Errorf("%s: no server has %s", file, name)
			}
		}
	}
}

// The events that requests log are those that the docs name.
func TestObservabilityEvents(t *testing.T) {
	sources, err := os.ReadDir("../../login")
	if err != nil {
		t.Fatal(err)
	}
	logged := map[string]bool{}
	for _, f := range sources {
		if strings.HasSuffix(f.Name(), ".go") && !strings.HasSuffix(f.Name(), "_test.go") {
			for _, m := range regexp.MustCompile(`slog\.String\("event", "([^"]+)"\)`).FindAllStringSubmatch(readText(t, "../../login/"+f.Name()), -1) {
				logged[m[1]] = true
			}
		}
	}
	row := regexp.MustCompile("(?m)^\\| `sealpost_login_events_total`.*$").FindString(readText(t, "../../docs/observability.md"))
	told := map[string]bool{}
	for _, m := range regexp.MustCompile("`([a-z]+-?[a-z]*)`").FindAllStringSubmatch(row, -1) {
		if m[1] != "event" {
			told[m[1]] = true
		}
	}
	if len(logged) == 0 || !maps.Equal(logged, told) {
		t.Errorf("logged %v\ntold   %v", slices.Sorted(maps.Keys(logged)), slices.Sorted(maps.Keys(told)))
	}
}

func readText(t testing.TB, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
