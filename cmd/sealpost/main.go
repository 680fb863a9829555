// Command sealpost is an OpenID Connect provider whose only login method is the
// mailed magic link.
//
//	sealpost dev                            try it: no settings needed
//	sealpost serve --config sealpost.yaml   the provider
//
// It exits with 0 when all went well, 1 when something failed, and 2 when the
// command line or the settings are wrong.
package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // of the command line or the settings
)

// usageError is an error that the operator mends in the command line or the
// settings.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// process is what a command has of the world.
type process struct {
	ctx            context.Context
	environ        []string
	stdin          io.Reader
	stdout, stderr io.Writer
	now            func() time.Time
}

// commands is the command line.
type commands struct {
	Serve   serveCommand   `cmd:"" help:"Run the provider."`
	Dev     devCommand     `cmd:"" help:"Try it: a provider with a mailbox and a sample application, no settings needed."`
	Config  configCommand  `cmd:"" help:"Print the effective settings, secrets masked."`
	Secret  secretCommand  `cmd:"" help:"Make a new secret for the settings."`
	Migrate migrateCommand `cmd:"" help:"Bring the database schema up to date, or look at it."`
	Client  clientCommand  `cmd:"" help:"Applications that people sign in to."`
	User    userCommand    `cmd:"" help:"People: invite, list, groups, disable, export, delete."`
	Session sessionCommand `cmd:"" help:"Sessions: who is signed in, from where; end them."`
	Grant   grantCommand   `cmd:"" help:"Who allowed which application what; take it back."`
	Key     keyCommand     `cmd:"" help:"Signing keys: list, rotate."`
	Audit   auditCommand   `cmd:"" help:"The audit log: list, follow."`
	Mail    mailCommand    `cmd:"" help:"Mail: try the server, sign, DNS records."`

	Backup      backupCommand      `cmd:"" help:"Copy the SQLite database, beside a running server."`
	Healthcheck healthcheckCommand `cmd:"" help:"Ask the server on this machine whether it is well."`

	Doctor  doctorCommand  `cmd:"" help:"Look for what is wrong: settings, database, mail, DNS, certificate, clock, proxy."`
	Version versionCommand `cmd:"" help:"Print the version."`

	Completion completionCommand `cmd:"" help:"Print a script with which a shell completes these commands."`
	Complete   completeCommand   `cmd:"" hidden:""`
}

const description = `An OpenID Connect provider that signs people in with a link in their mail.

It exits with 0 when all went well, 1 when something failed, and 2 when the command line or the settings are wrong.
Settings come from flags, the environment (SEALPOST_MAIL_URL for mail.url), a YAML file and defaults, in this order.

  sealpost dev                                  try it
  sealpost secret                               make the secret for the settings
  sealpost serve --config sealpost.yaml         run it
  sealpost client add grafana --config sealpost.yaml --redirect-uri https://grafana.example.com/login/generic_oauth
`

// exit is how kong's --help ends a run.
type exit int

// run executes one command line and gives its exit code.
func run(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	defer func() {
		switch thrown := recover().(type) {
		case nil:
		case exit:
			code = int(thrown)
		default:
			panic(thrown)
		}
	}()
	var line commands
	out := &output{w: stdout}
	p := &process{ctx: ctx, environ: environ, stdin: stdin, stdout: out, stderr: stderr, now: failpointClock(time.Now)}
	parser, err := kong.New(&line, kong.Name("sealpost"), kong.Description(description), kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { panic(exit(code)) }), kong.Bind(p),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}))
	if err != nil {
		return report(stderr, err)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parser.Parse(idsLast(args))
	if err != nil {
		return report(stderr, usageError{fmt.Errorf("%w\nsee: %s --help", err, commandOf(err))})
	}
	return report(stderr, cmp.Or(command.Run(), out.err))
}

// output is where a command prints, and the first error of that.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(b []byte) (int, error) {
	n, err := o.w.Write(b)
	if err != nil && o.err == nil {
		o.err = fmt.Errorf("print: %w", err)
	}
	return n, err
}

// commandOf is the command that a line was wrong for, as far as it was one.
func commandOf(err error) string {
	words := []string{"sealpost"}
	if parse := (*kong.ParseError)(nil); errors.As(err, &parse) {
		for _, p := range parse.Context.Path {
			if p.Command != nil {
				words = append(words, p.Command.Name)
			}
		}
	}
	return strings.Join(words, " ")
}

// report says an error, each of its lines on its own, and gives the exit code.
func report(stderr io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(stderr, "sealpost: %s\n", strings.TrimRight(line, "\n"))
	}
	if usage := (usageError{}); errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

// confirm asks whoever sits at the terminal before something that cannot be
// undone, unless they said yes already.
func (p *process) confirm(yes bool, question string) error {
	if yes {
		return nil
	}
	nobody := usageError{errors.New("this asks first, and nobody can answer here: give --yes")}
	if f, ok := p.stdin.(*os.File); !ok || !isTerminal(f) {
		return nobody
	}
	fmt.Fprintf(p.stderr, "%s Type yes: ", question)
	answer, err := bufio.NewReader(p.stdin).ReadString('\n')
	switch {
	case err != nil:
		return nobody
	case strings.TrimSpace(answer) != "yes":
		return errors.New("nothing was done")
	}
	return nil
}

// isTerminal is true of other devices of characters, too: they end, or answer no.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// settingsFlags are the flags of every command that reads settings.
type settingsFlags struct {
	File string   `name:"config" short:"c" placeholder:"FILE" help:"Settings file, YAML or JSON. Also $$SEALPOST_CONFIG."`
	Set  []string `name:"set" placeholder:"KEY=VALUE" sep:"none" help:"One setting, over file and environment, such as login.link_ttl=5m."`
}

// load gathers the settings of the process.
func (f settingsFlags) load(p *process, defaults Settings) (Settings, error) {
	file := f.File
	if file == "" {
		file = p.getenv("SEALPOST_CONFIG")
	}
	s, err := Load(defaults, file, p.environ, f.Set)
	if err != nil {
		return s, usageError{err}
	}
	return s, nil
}

func (p *process) getenv(name string) string {
	for _, entry := range p.environ {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			return v
		}
	}
	return ""
}
