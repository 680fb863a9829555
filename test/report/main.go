// Command report reads the output of go test -json, shows what failed, and
// says how many tests ran on each engine:
//
//	go test -json ./... | go run ./test/report
//
// It fails when a test failed, when a package did not build, and when an
// engine was not tested at all.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// event is a line of test2json.
type event struct {
	Action, Package, ImportPath, Test, Output string
	Elapsed                                   float64 // seconds
}

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	var (
		passed, failed, skipped int
		engines                 = map[string]int{"SQLite": 0, "PostgreSQL": 0}
		output                  = map[string][]string{} // of tests and packages under way
		broken                  []string                // packages that failed
	)
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil { // what go says outside of test2json
			fmt.Fprintln(out, lines.Text())
			continue
		}
		key := e.Package + e.ImportPath + " " + e.Test
		switch e.Action {
		case "output", "build-output":
			output[key] = append(output[key], e.Output)
		case "build-fail":
			fmt.Fprint(out, strings.Join(output[key], ""))
		case "pass", "skip":
			delete(output, key)
			switch {
			case e.Test == "":
				fmt.Fprintf(out, "%-5s %s %s\n", e.Action, e.Package, time.Duration(e.Elapsed*float64(time.Second)).Round(10*time.Millisecond))
			case e.Action == "skip":
				skipped++
				fmt.Fprintf(out, "skip  %s %s\n", e.Package, e.Test)
			default:
				passed++
				if engine := engineOf(e); engine != "" {
					engines[engine]++
				}
			}
		case "fail":
			fmt.Fprint(out, strings.Join(output[key], ""))
			delete(output, key)
			if e.Test == "" {
				broken = append(broken, e.Package)
				continue
			}
			failed++
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	for _, engine := range slices.Sorted(maps.Keys(engines)) {
		fmt.Fprintf(out, "%d tests on %s\n", engines[engine], engine)
	}
	fmt.Fprintf(out, "%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	switch {
	case failed > 0 || len(broken) > 0:
		return fmt.Errorf("failed: %s", strings.Join(broken, " "))
	case engines["SQLite"] == 0 || engines["PostgreSQL"] == 0:
		return errors.New("an engine was not tested")
	}
	return nil
}

// engineOf says which engine a test ran on, by its package or a part of its name.
func engineOf(e event) string {
	parts := append(strings.Split(e.Test, "/"), e.Package[strings.LastIndex(e.Package, "/")+1:])
	switch {
	case slices.Contains(parts, "sqlite"):
		return "SQLite"
	case slices.Contains(parts, "postgres"):
		return "PostgreSQL"
	}
	return ""
}
