package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"
)

// table prints rows in columns, for people.
type table struct{ columns *tabwriter.Writer }

// newTable begins a table with what its columns are called, if they are called
// anything. It is printed by flush.
func newTable(w io.Writer, names ...any) table {
	t := table{tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)}
	if len(names) > 0 {
		t.row(names...)
	}
	return t
}

// row adds a row. What is in it was often named by strangers.
func (t table) row(cells ...any) {
	for i, cell := range cells {
		if i > 0 {
			io.WriteString(t.columns, "\t")
		}
		io.WriteString(t.columns, printable(fmt.Sprint(cell)))
	}
	io.WriteString(t.columns, "\n") // flush gives the error
}

func (t table) flush() error { return t.columns.Flush() }

// printable keeps what others named from moving the cursor of a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, text)
}
