package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

//go:generate go test . -run ^TestCommandsPage$ -update

const commandsPage = "../../docs/commands.md"

// TestCommandsPage holds docs/commands.md to the command line; with -update it
// writes the page.
func TestCommandsPage(t *testing.T) {
	page := pageOfCommands(t)
	if *update {
		if err := os.WriteFile(commandsPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(commandsPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != page {
		t.Errorf("%s does not say what the commands are; run: make generate", commandsPage)
	}
}

// commandLine is the command line as kong knows it.
func commandLine(t *testing.T) *kong.Node {
	t.Helper()
	var line commands
	parser, err := kong.New(&line, kong.Name("sealpost"))
	if err != nil {
		t.Fatal(err)
	}
	return parser.Model.Node
}

// Every command has an example, in its own help or in that of its group.
func TestEveryCommandHasAnExample(t *testing.T) {
	all := commandLine(t).Leaves(true)
	for _, leaf := range all {
		if help := leaf.Detail + leaf.Parent.Detail + description; !strings.Contains(help, "  "+leaf.FullPath()) {
			t.Errorf("%s has none", leaf.FullPath())
		}
	}
	if len(all) < 30 {
		t.Errorf("only %d commands were found", len(all))
	}
}

const commandsIntro = `# Commands

<!-- Generated from the command line itself by "make generate". -->

` + "`sealpost COMMAND --help`" + ` says the same. Those for administration work on the database, beside running servers.

Every command that reads settings takes ` + "`--config FILE`" + ` (or ` + "`SEALPOST_CONFIG`" + `) and ` + "`--set KEY=VALUE`" + `, as
[settings.md](settings.md) says. With ` + "`--json`" + ` it prints JSON for programs; without, a table for people. What is not the
answer goes to standard error.

| exit code | |
| --- | --- |
| 0 | all went well |
| 1 | something failed, or what was named is not there |
| 2 | the command line or the settings are wrong |

`

// flagsOfMany are said once, above.
var flagsOfMany = []string{"help", "config", "set", "json"}

func pageOfCommands(t *testing.T) string {
	t.Helper()
	var page strings.Builder
	page.WriteString(commandsIntro + "| command | | `--json` |\n| --- | --- | --- |\n")
	top := commandLine(t)
	for _, leaf := range top.Leaves(true) {
		asJSON := ""
		if slices.ContainsFunc(leaf.Flags, func(f *kong.Flag) bool { return f.Name == "json" }) {
			asJSON = "yes"
		}
		fmt.Fprintf(&page, "| [`%s`](#%s) | %s | %s |\n", leaf.FullPath(), strings.ReplaceAll(leaf.FullPath(), " ", "-"), leaf.Help, asJSON)
	}
	var section func(node *kong.Node, level string)
	section = func(node *kong.Node, level string) {
		fmt.Fprintf(&page, "\n%s %s\n\n%s\n%s", level, node.FullPath(), node.Help, detail(node.Detail))
		var rows []string
		for _, arg := range node.Positional {
			rows = append(rows, fmt.Sprintf("| `%s` | %s |", arg.Summary(), arg.Help))
		}
		for _, flag := range node.Flags {
			if !slices.Contains(flagsOfMany, flag.Name) {
				rows = append(rows, fmt.Sprintf("| `%s` | %s |", strings.ReplaceAll(flag.String(), "|", "\\|"), flag.Help))
			}
		}
		if rows != nil {
			fmt.Fprintf(&page, "\n| | |\n| --- | --- |\n%s\n", strings.Join(rows, "\n"))
		}
		for _, child := range node.Children {
			section(child, level+"#")
		}
	}
	for _, node := range top.Children {
		if !node.Hidden {
			section(node, "##")
		}
	}
	return page.String()
}

// detail is the long help of a command: what is indented is for a shell.
func detail(help string) string {
	var page strings.Builder
	for part := range strings.SplitSeq(help, "\n\n") {
		switch {
		case part == "":
		case strings.HasPrefix(part, "  "):
			fmt.Fprintf(&page, "\n```sh\n%s\n```\n", strings.ReplaceAll(part[2:], "\n  ", "\n"))
		default:
			fmt.Fprintf(&page, "\n%s\n", part)
		}
	}
	return page.String()
}
