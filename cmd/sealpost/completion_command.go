package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/storage"
)

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is shown by sealpost completion --help.
func (completionCommand) Help() string {
	return `Prints a script with which the shell completes commands, flags and some of their values. It asks this program, so it
never has to be made again.

  sealpost completion bash > /etc/bash_completion.d/sealpost
  sealpost completion zsh > "${fpath[1]}/_sealpost"
  sealpost completion fish > ~/.config/fish/completions/sealpost.fish`
}

// Run prints the script.
func (c completionCommand) Run(p *process) error {
	_, err := fmt.Fprint(p.stdout, completionScripts[c.Shell])
	return err
}

// completionScripts hand the words up to the cursor to sealpost complete. Where
// it has nothing to say, the shell completes file names.
var completionScripts = map[string]string{
	"bash": `# sealpost completion bash
_sealpost() {
	local IFS=$'\n'
	COMPREPLY=($("${COMP_WORDS[0]}" complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f 1))
}
complete -o default -F _sealpost sealpost
`,
	"zsh": `#compdef sealpost
# sealpost completion zsh
_sealpost() {
	local line help
	local -a found
	for line in "${(@f)$("${words[1]}" complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
		help=${line#*$'\t'}
		[[ -n $line ]] && found+=("${${line%%$'\t'*}//:/\\:}${help:+:$help}")
	done
	if (( $#found )); then
		_describe sealpost found
	else
		_files
	fi
}
if [[ $funcstack[1] == _sealpost ]]; then
	_sealpost "$@"
else
	compdef _sealpost sealpost
fi
`,
	"fish": `# sealpost completion fish
function __sealpost_complete
	set -l tokens (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token --cut-at-cursor)
	$tokens[1] complete -- $tokens[2..] 2>/dev/null
end
complete --command sealpost --condition 'count (__sealpost_complete) >/dev/null' --no-files --arguments '(__sealpost_complete)'
`,
}

// completeCommand is what the scripts ask.
type completeCommand struct {
	Words []string `arg:"" optional:"" passthrough:""`
}

// Run prints what the last word may become: one a line, with a tab before what it
// does.
func (c completeCommand) Run(p *process, line *kong.Context) error {
	words := c.Words
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	for _, found := range completions(line.Model.Node, words) {
		if _, err := fmt.Fprintf(p.stdout, "%s\t%s\n", found[0], found[1]); err != nil {
			return err
		}
	}
	return nil
}

// completions are what the last of words may become, each with its help. The
// words before it say of which command.
func completions(node *kong.Node, words []string) [][2]string {
	if len(words) == 0 {
		words = []string{""}
	}
	last := len(words) - 1
	typed := words[last]
	var value *kong.Flag // of which the next word is the value
	for _, word := range words[:last] {
		switch {
		case word == "=": // bash makes three words of --flag=value
		case value != nil:
			value = nil
		case strings.HasPrefix(word, "-"):
			value = takesNext(node, word)
		default:
			if i := slices.IndexFunc(node.Children, func(n *kong.Node) bool { return n.Name == word }); i >= 0 {
				node = node.Children[i]
			}
		}
	}
	var all [][2]string
	switch name, _, ok := strings.Cut(typed, "="); {
	case value != nil:
		typed = strings.TrimPrefix(typed, "=")
		all = valuesOf(value, "")
	case ok && name != "":
		if flag := takesNext(node, name); flag != nil {
			all = valuesOf(flag, name+"=")
		}
	case strings.HasPrefix(typed, "-"):
		all = flagsOf(node)
	default:
		for _, n := range node.Children {
			if !n.Hidden {
				all = append(all, [2]string{n.Name, n.Help})
			}
		}
		for _, arg := range node.Positional {
			if arg.Enum != "" {
				all = append(all, plain("", arg.EnumSlice())...)
			}
		}
	}
	return slices.DeleteFunc(all, func(c [2]string) bool { return !strings.HasPrefix(c[0], typed) })
}

// takesNext finds the flag of a word that has a value to come.
func takesNext(node *kong.Node, word string) *kong.Flag {
	for _, flag := range slices.Concat(node.AllFlags(true)...) {
		if !flag.IsBool() && (word == "--"+flag.Name || flag.Short != 0 && word == "-"+string(flag.Short)) {
			return flag
		}
	}
	return nil
}

func flagsOf(node *kong.Node) (all [][2]string) {
	for _, flag := range slices.Concat(node.AllFlags(true)...) {
		all = append(all, [2]string{"--" + flag.Name, flag.Help})
		if flag.Tag.Negatable != "" {
			all = append(all, [2]string{"--no-" + flag.Name, flag.Help})
		}
	}
	return all
}

// valuesOf are what a flag can be, as far as that is a few words.
func valuesOf(flag *kong.Flag, prefix string) [][2]string {
	var names []string
	switch flag.Name {
	case "event":
		for _, name := range storage.EventNames() {
			names = append(names, string(name))
		}
	case "alg", "id-token-alg":
		for _, alg := range keys.Algorithms {
			names = append(names, string(alg))
		}
	case "consent":
		names = []string{"skip", "ask"}
	}
	return plain(prefix, names)
}

func plain(prefix string, names []string) (all [][2]string) {
	for _, name := range names {
		all = append(all, [2]string{prefix + name, ""})
	}
	return all
}
