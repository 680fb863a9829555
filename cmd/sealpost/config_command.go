package main

import (
	"fmt"
	"runtime/debug"

	"go.yaml.in/yaml/v3"

	"github.com/sealpost/sealpost/docs"
	"github.com/sealpost/sealpost/keys"
)

type configCommand struct {
	settingsFlags
	Schema bool `help:"Print the JSON schema of the settings file, for editors."`
}

// Help is shown by sealpost config --help.
func (configCommand) Help() string {
	return `Prints what serve would run with, as YAML. Passwords and secrets are masked, so the output can be shown to others.

  sealpost config --config sealpost.yaml
  sealpost config --schema > settings.schema.json`
}

// Run prints the settings.
func (c configCommand) Run(p *process) error {
	if c.Schema {
		_, err := p.stdout.Write(docs.SettingsSchema)
		return err
	}
	s, err := c.load(p, Defaults())
	if err != nil {
		return err
	}
	for i := range s.Clients {
		c := &s.Clients[i]
		switch {
		case c.Secret != "": // its hash was ours
			c.SecretSHA256 = ""
		case c.SecretSHA256 != "": // of a word that people chose, a hash tells it to whoever tries words
			c.SecretSHA256 = masked
		}
	}
	e := yaml.NewEncoder(p.stdout)
	e.SetIndent(2)
	if err := e.Encode(s); err != nil {
		return fmt.Errorf("print settings: %w", err)
	}
	return e.Close()
}

type secretCommand struct{}

// Help is shown by sealpost secret --help.
func (secretCommand) Help() string {
	return `Prints 32 random bytes in base64. Keep them apart from the database, and name the file in the settings (secret_file).

  sealpost secret > /etc/sealpost/secret && chmod 600 /etc/sealpost/secret`
}

// Run prints a secret.
func (secretCommand) Run(p *process) error {
	_, err := fmt.Fprintln(p.stdout, keys.NewSecret())
	return err
}

type versionCommand struct{}

// Help is shown by sealpost version --help.
func (versionCommand) Help() string { return "  sealpost version" }

// Run prints the version the binary was built from.
func (versionCommand) Run(p *process) error {
	_, err := fmt.Fprintln(p.stdout, "sealpost", version())
	return err
}

// release is the version of a released binary: make release sets it.
var release string

func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
