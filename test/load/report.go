package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"
)

func encode(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// report collects figures.
type report struct {
	options
	rows   []row
	limits []limit
}

// row is one figure: what it came to, and what it is to be.
type row struct {
	engine, name string
	value        string
	target       string
	met          bool
	more         string
}

type limit struct {
	name string
	rate float64
}

// compare has two sides take turns and tells the median of what ours came to
// as a share of theirs.
func (r *report) compare(engine, name string, target float64, ours, theirs *side, of, than func(*side, int) error) error {
	var shares, costs, rates []float64
	var took []time.Duration
	for range r.rounds {
		floor, err := theirs.turn(r.options, than)
		if err != nil {
			return fmt.Errorf("floor: %w", err)
		}
		we, err := ours.turn(r.options, of)
		if err != nil {
			return err
		}
		shares = append(shares, we.rate/floor.rate)
		rates = append(rates, we.rate)
		if floor.cpu > 0 {
			costs = append(costs, float64(we.cpu)/float64(floor.cpu))
		}
		took = append(took, we.took...)
	}
	slices.Sort(took)
	more := fmt.Sprintf("%.0f/s, half in %s, 99 of 100 in %s", median(rates), rounded(percentile(took, .5)), rounded(percentile(took, .99)))
	met := median(shares) >= target
	if len(costs) > 0 {
		more += fmt.Sprintf(", server CPU %.1f×", median(costs))
	}
	r.add(row{engine, name, fmt.Sprintf("%.0f %%", 100*median(shares)), fmt.Sprintf("≥ %.0f %%", 100*target), met, more})
	if name == "login" && len(costs) > 0 {
		r.add(row{engine, "login: server CPU", fmt.Sprintf("%.1f×", median(costs)), "≤ 2×", median(costs) <= 2, ""})
	}
	return nil
}

func (r *report) sizes(engine, name string, value float64, unit string, most float64) {
	r.add(row{engine, name, fmt.Sprintf("%.0f %s", value, unit), fmt.Sprintf("≤ %.0f %s", most, unit), value <= most, ""})
}

func (r *report) limit(name string, rate float64) { r.limits = append(r.limits, limit{name, rate}) }

func (r *report) add(w row) {
	r.rows = append(r.rows, w)
	fmt.Fprintf(os.Stderr, "%s %s: %s (%s) %s\n", w.engine, w.name, w.value, w.target, w.more)
}

func median(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}

func rounded(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }

func (r *report) print(out io.Writer) {
	if info, err := os.Stat(r.binary); err == nil && r.wants("sizes") {
		r.sizes("", "binary", float64(info.Size())/1e6, "MB", 45)
	}
	if r.markdown {
		fmt.Fprintln(out, "| engine | figure | is | target | met | |\n| --- | --- | --- | --- | --- | --- |")
		for _, w := range r.rows {
			fmt.Fprintf(out, "| %s | %s | %s | %s | %s | %s |\n", w.engine, w.name, w.value, w.target, yes(w.met), w.more)
		}
		for _, l := range r.limits {
			fmt.Fprintf(out, "| | limit: %s | %.0f/s | | | |\n", l.name, l.rate)
		}
		return
	}
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for _, w := range r.rows {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", w.engine, w.name, w.value, w.target, yes(w.met), w.more)
	}
	for _, l := range r.limits {
		fmt.Fprintf(table, "\tlimit: %s\t%.0f/s\t\t\t\n", l.name, l.rate)
	}
	_ = table.Flush()
}

func yes(met bool) string {
	if met {
		return "met"
	}
	return "not met"
}
