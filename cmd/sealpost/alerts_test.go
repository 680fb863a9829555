package main

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestAlertsAreExplained holds the table in docs/operations.md to the rules of
// deploy/prometheus/alerts.yaml.
func TestAlertsAreExplained(t *testing.T) {
	text, err := os.ReadFile("../../deploy/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct{ Rules []struct{ Alert string } }
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	alerts, explained := map[string]bool{}, map[string]bool{}
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			alerts[rule.Alert] = true
		}
	}
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `(Sealpost\\w+)` \\|").FindAllStringSubmatch(string(page), -1) {
		explained[row[1]] = true
	}
	if len(alerts) < 5 || !maps.Equal(alerts, explained) {
		t.Errorf("alerts are %v, docs/operations.md explains %v", slices.Sorted(maps.Keys(alerts)), slices.Sorted(maps.Keys(explained)))
	}
}
