package main

import (
	"strings"
	"testing"
)

// A cell is what it is: it moves no cursor, turns nothing around and is no two cells.
func TestTable(t *testing.T) {
	var out strings.Builder
	table := newTable(&out, "NAME", "TIMES")
	table.row("a\tb\x1b[2J\u202e\n", 7)
	if err := table.flush(); err != nil {
		t.Fatal(err)
	}
	if want := "NAME       TIMES\na\uFFFDb\uFFFD[2J\uFFFD\uFFFD  7\n"; out.String() != want {
		t.Errorf("%q, not %q", out.String(), want)
	}
}
