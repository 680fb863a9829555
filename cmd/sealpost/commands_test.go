package main

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sealpost/sealpost/storage"
)

// TestCommandsOfThePages holds the shell blocks of README.md and docs to a
// shell, which has to be able to read them, and each sealpost command in them
// to the command line. Nothing is run.
func TestCommandsOfThePages(t *testing.T) {
	pages := []string{"../../README.md"}
	err := filepath.WalkDir("../../docs", func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") {
			pages = append(pages, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var commandsSeen int
	block := regexp.MustCompile("(?ms)^ *```sh\n(.*?)^ *```$")
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range block.FindAllSubmatch(text, -1) {
			check := exec.Command("sh", "-n")
			check.Stdin = bytes.NewReader(found[1])
			if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("%s: a shell cannot read\n%s%s", page, found[1], out)
			}
			for _, words := range commandsIn(string(found[1])) {
				commandsSeen++
				var line commands
				parser, err := kong.New(&line, kong.Exit(func(int) {}), kong.Writers(new(bytes.Buffer), new(bytes.Buffer)))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := parser.Parse(words); err != nil {
					t.Errorf("%s: sealpost %s: %v", page, strings.Join(words, " "), err)
				}
			}
		}
	}
	if commandsSeen < 20 {
		t.Errorf("only %d commands were found", commandsSeen)
	}
}

// sealpostCall is a call at the start of a command, up to its end.
var sealpostCall = regexp.MustCompile(`(?m)(?:^|[(;&|] ?|\bdo |\buntil |\bexec \S+ )(?:\./|/)?sealpost ([^\n;|&>)#]*)`)

// commandsIn gives the words of each sealpost command of a shell script.
func commandsIn(script string) [][]string {
	script = strings.ReplaceAll(script, "\\\n", " ")
	script = regexp.MustCompile(`\$\([^()]*\)`).ReplaceAllStringFunc(script, func(inner string) string {
		if strings.Contains(inner, "sealpost ") {
			return inner
		}
		return "VALUE"
	})
	var all [][]string
	for _, call := range sealpostCall.FindAllStringSubmatch(script, -1) {
		var words []string
		for _, word := range regexp.MustCompile(`"[^"]*"?|'[^']*'|[^\s"']+`).FindAllString(call[1], -1) {
			words = append(words, strings.Trim(word, `"'`))
		}
		all = append(all, words)
	}
	return all
}

// What could not be printed was not done, as far as whoever asked can tell.
func TestOutputThatCannotBeWritten(t *testing.T) {
	s := settingsOf(t, "sqlite")
	environ := []string{"SEALPOST_DATABASE=" + string(s.Database)}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for _, line := range []string{
		"migrate up", "migrate status", "client add app --public --redirect-uri https://app.example.com/cb",
		"client add secret --redirect-uri https://app.example.com/cb", "client rotate-secret secret", "client list", "user add ada@example.com",
		"user list --json", "backup " + filepath.Join(t.TempDir(), "copy.db"), "mail dkim --set mail.from=login@example.com", "secret", "version",
	} {
		var stderr bytes.Buffer
		code := run(t.Context(), strings.Fields(line), environ, strings.NewReader(""), full, &stderr)
		if code != exitFailed || !strings.Contains(stderr.String(), "no space left on device") || strings.Contains(stderr.String(), "shown this once") {
			t.Errorf("%s: code %d, %s", line, code, &stderr)
		}
	}
}

// OIDC Core §8.1: with other redirect URIs a pairwise client may be of another
// sector, to which everybody is somebody else.
func TestPairwiseClientStaysWhereItIs(t *testing.T) {
	s := settingsOf(t, "sqlite")
	db, err := openMigrated(t.Context(), &s, false)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	c := storage.Client{ID: "pair", SubjectType: "pairwise", RedirectURIs: []string{"https://pair.example.com/cb"}, CreatedAt: time.Now(), UpdatedAt: time.Now()}.WithDefaults()
	if err := db.AddClient(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]int{"client set pair --redirect-uri https://other.example.com/cb": exitUsage, "client set pair --name Pair": exitOK} {
		var stderr bytes.Buffer
		if code := run(t.Context(), strings.Fields(line), []string{"SEALPOST_DATABASE=" + string(s.Database)}, strings.NewReader(""), io.Discard, &stderr); code != want {
			t.Errorf("%s: code %d, %s", line, code, &stderr)
		}
	}
}
