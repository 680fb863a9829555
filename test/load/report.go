package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

func encode(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// report collects figures.
type report struct {
	options
	rows   []row
	spread []spread
	limits []limit
}

// spread is how long the steps of one kind took, sorted.
type spread struct {
	engine, name string
	took         []time.Duration
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
	r.took(engine, name, took)
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

func (r *report) took(engine, name string, sorted []time.Duration) {
	r.spread = append(r.spread, spread{engine, name, sorted})
	fmt.Fprintf(os.Stderr, "%s %s: half in %s, 99 of 100 in %s\n", engine, name, rounded(percentile(sorted, .5)), rounded(percentile(sorted, .99)))
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
		r.printSpread(out, "| ", " | ", " |\n", "| --- | --- |"+strings.Repeat(" --: |", len(bounds)+1)+"\n")
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
	r.printSpread(table, "", "\t", "\n", "")
	_ = table.Flush()
}

// bounds are those of the histograms.
var bounds = []time.Duration{500 * time.Microsecond, time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond,
	20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond}

// printSpread prints a histogram of each step, a line each: how many of 100 took
// so long, and longer than the column before.
func (r *report) printSpread(out io.Writer, before, between, after, below string) {
	if len(r.spread) == 0 {
		return
	}
	cells := []string{"engine", "percent of the steps that took"}
	for _, b := range bounds {
		cells = append(cells, "≤ "+b.String())
	}
	fmt.Fprint(out, "\n", before, strings.Join(append(cells, "more"), between), after, below)
	for _, s := range r.spread {
		cells, sofar := []string{s.engine, s.name}, 0
		for _, b := range append(slices.Clone(bounds), 1<<62) {
			n, _ := slices.BinarySearch(s.took, b+1)
			cell := ""
			if n > sofar {
				cell = fmt.Sprintf("%.3g", 100*float64(n-sofar)/float64(len(s.took)))
			}
			cells, sofar = append(cells, cell), n
		}
		fmt.Fprint(out, before, strings.Join(cells, between), after)
	}
}

func yes(met bool) string {
	if met {
		return "met"
	}
	return "not met"
}
