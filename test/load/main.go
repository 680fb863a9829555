// Command load plays whole logins against a running Sealpost, as fast as the
// machine allows, and says how fast that was: not in logins a second, which are
// this machine's, but as a share of what the machine would allow. In the same
// run, and taking turns, it plays the same against floor, the least that an
// OpenID provider with a mailed link has to do, and measures bare signatures,
// commits and a plain handler.
//
//	go run . -binary ../../bin/sealpost              everything, both engines
//	go run . -binary … -engines sqlite -only login   one figure
//	go run . -binary … -for 10s -rounds 5            longer
//	go run . -binary … -markdown                     a table for docs/performance.md
//	go run . grow -binary … -people 10000,1000000    the same steps with more people in the database
//	go run . soak -binary … -engine postgres         half an hour with faults; what grows?
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// options are those of a run.
type options struct {
	binary   string
	engines  []string
	only     []string
	lasts    time.Duration
	rounds   int
	workers  int
	alg      string
	markdown bool
	dir      string
}

func (o options) wants(name string) bool { return len(o.only) == 0 || slices.Contains(o.only, name) }

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "floor":
			runFloor(os.Args[2:])
			return
		case "plain":
			runPlain(os.Args[2:])
			return
		case "soak", "grow":
			if err := map[string]func([]string) error{"soak": runSoak, "grow": runGrow}[os.Args[1]](os.Args[2:]); err != nil {
				fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[1], err)
				os.Exit(1)
			}
			return
		}
	}
	var o options
	var engines, only string
	flag.StringVar(&o.binary, "binary", "../../bin/sealpost", "the binary of Sealpost")
	flag.StringVar(&engines, "engines", "sqlite,postgres", "engines to measure")
	flag.StringVar(&only, "only", "", "figures to measure: login silent refresh authorize userinfo introspect discovery jwks latency open sizes limits; empty: all")
	flag.DurationVar(&o.lasts, "for", 4*time.Second, "how long one turn lasts")
	flag.IntVar(&o.rounds, "rounds", 3, "turns of each")
	flag.IntVar(&o.workers, "workers", 16, "people at once")
	flag.StringVar(&o.alg, "alg", "RS256", "of ID tokens: RS256, ES256, EdDSA")
	flag.BoolVar(&o.markdown, "markdown", false, "print a table in Markdown")
	flag.Parse()
	o.engines = strings.Split(engines, ",")
	if only != "" {
		o.only = strings.Split(only, ",")
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(o options) (err error) {
	if o.binary, err = filepath.Abs(o.binary); err != nil {
		return err
	}
	if _, err := os.Stat(o.binary); err != nil {
		return fmt.Errorf("%w: make it with: make build", err)
	}
	if o.dir, err = os.MkdirTemp("", "sealpost-load-"); err != nil {
		return err
	}
	defer os.RemoveAll(o.dir)
	if err := os.Chmod(o.dir, 0o755); err != nil { // PostgreSQL runs as somebody else
		return err
	}
	fmt.Printf("%s, %d CPUs, %s; %d workers, %d turns of %s, ID tokens %s\n\n", time.Now().Format(time.DateOnly), runtime.NumCPU(), runtime.Version(), o.workers, o.rounds, o.lasts, o.alg)
	r := &report{options: o}
	for _, engine := range o.engines {
		if err := measureEngine(r, engine); err != nil {
			return fmt.Errorf("%s: %w", engine, err)
		}
	}
	if o.wants("limits") {
		measureLimits(r)
	}
	r.print(os.Stdout)
	return nil
}
