package main

import (
	"errors"
	"fmt"
	"time"
)

// bouncesAtMost is how many are listed where nothing else is said.
const bouncesAtMost = 1000

type mailBounces struct {
	clientFlags
	Since time.Duration `placeholder:"DURATION" help:"Only those that were refused since, such as 24h."`
	Limit int           `default:"1000" placeholder:"N" help:"How many at most; 1000 when left out."`
}

// Help is shown by sealpost mail bounces --help.
func (mailBounces) Help() string {
	return `Lists the addresses that a mail server has refused for good, and has taken no mail for since, the last first.
A mail that is taken later takes its address off the list.

  sealpost mail bounces --config sealpost.yaml
  sealpost mail bounces --config sealpost.yaml --since 24h --json`
}

// shownBounce is a bounce as the command line shows one.
type shownBounce struct {
	Email  string `json:"email"`
	Detail string `json:"detail"`
	Count  int    `json:"count"`
	LastAt string `json:"last_at"`
}

// Run lists the addresses.
func (c mailBounces) Run(p *process) error {
	err := checkLimit(c.Limit)
	if c.Since < 0 {
		err = errors.Join(err, usageError{fmt.Errorf("--since: %q: write a duration such as 24h", c.Since)})
	}
	if err != nil {
		return err
	}
	return c.withStore(p, func(_ Settings, db store) error {
		var since time.Time
		if c.Since > 0 {
			since = p.now().Add(-c.Since)
		}
		all, err := db.Bounces(p.ctx, since, c.Limit)
		if err != nil {
			return err
		}
		shown := []shownBounce{}
		for _, b := range all {
			shown = append(shown, shownBounce{Email: b.Email, Detail: b.Detail, Count: b.Count, LastAt: stamp(b.At)})
		}
		if c.JSON {
			return c.printJSON(p, shown)
		}
		table := newTable(p.stdout, "EMAIL", "LAST", "TIMES", "ANSWER")
		for _, b := range shown {
			table.row(b.Email, b.LastAt, b.Count, b.Detail)
		}
		return table.flush()
	})
}
