package main

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"
)

//go:generate go test . -run ^TestSettingsPage$ -update

var update = flag.Bool("update", false, "write generated files")

const settingsPage = "../../docs/settings.md"

// TestSettingsPage holds docs/settings.md to the comments in config.go; with
// -update it writes the page.
func TestSettingsPage(t *testing.T) {
	page := pageOfSettings(t)
	if *update {
		if err := os.WriteFile(settingsPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(settingsPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != page {
		t.Errorf("%s does not say what config.go says; run: make generate", settingsPage)
	}
}

const settingsIntro = `# Settings

<!-- Generated from cmd/sealpost/config.go by "make generate". -->

Settings stand in one YAML file (JSON is YAML), given with ` + "`--config`" + ` or ` + "`SEALPOST_CONFIG`" + `. Every key can also be
an environment variable and a flag. What comes first wins:

1. the flag ` + "`--set login.link_ttl=5m`" + `, not for secrets
2. the environment: ` + "`SEALPOST_LOGIN_LINK_TTL=5m`" + `; lists are separated by commas, an empty variable is none
3. the file
4. the default

Keys and variables that are unknown are errors, with the nearest known one. Variables that Kubernetes sets for a
service named sealpost are ignored. Durations are ` + "`15m`, `720h`" + ` or a number of seconds. A secret can be in a file:
` + "`secret_file`" + `, ` + "`SEALPOST_SECRET_FILE`" + `. ` + "`sealpost config`" + ` prints the settings that count, secrets masked.

For editors there is a [schema](settings.schema.json), which ` + "`sealpost config --schema`" + ` prints, too. With the YAML language server
this is the first line of the file: ` + "`# yaml-language-server: $schema=settings.schema.json`" + `

`

func pageOfSettings(t *testing.T) string {
	t.Helper()
	comments := fieldComments(t, "config.go")
	defaults := reflect.ValueOf(Defaults())
	var page strings.Builder
	page.WriteString(settingsIntro)
	page.WriteString("| key | default | |\n| --- | --- | --- |\n")
	var walk func(v reflect.Value, prefix string)
	walk = func(v reflect.Value, prefix string) {
		for f := range fieldsOf(v.Type()) {
			if f.Type.Kind() == reflect.Struct && scalars[f.Type] == nil {
				walk(v.FieldByIndex(f.index), prefix+f.name+".")
				continue
			}
			comment := comments[v.Type().Name()+"."+f.StructField.Name]
			if comment == "" {
				t.Errorf("setting %s%s has no comment", prefix, f.name)
			}
			fmt.Fprintf(&page, "| `%s%s` | %s | %s |\n", prefix, f.name, shown(v.FieldByIndex(f.index)), strings.ReplaceAll(comment, "|", "\\|"))
		}
	}
	walk(defaults, "")
	page.WriteString("\n## Clients\n\nEach entry of `clients` has these keys, named as in RFC 7591 and OpenID Connect Registration.\n" +
		"`sealpost client add` takes the usual ones as flags.\n\n| key | |\n| --- | --- |\n")
	for name, comment := range fieldComments(t, "../../storage/client.go") {
		comments[name] = comment
	}
	for f := range fieldsOf(reflect.TypeFor[Client]()) {
		comment := comments["Client."+f.StructField.Name]
		if f.name == "client_secret" { // storage.Client has no field Secret
			comment = comments["Client.Secret"]
		}
		fmt.Fprintf(&page, "| `%s` | %s |\n", f.name, comment)
	}
	page.WriteString(settingsExample)
	return page.String()
}

const settingsExample = `
## An example

` + "```yaml" + `
issuer: https://login.example.com
listen: ":8080"
trusted_proxies: [10.0.0.0/8]
database: postgres://sealpost@db.example.com/sealpost
secret_file: /run/secrets/sealpost
mail:
  url_file: /run/secrets/sealpost-mail
  from: "Example <login@example.com>"
login:
  allow: ["*@example.com"]
clients:
  - client_id: intranet
    client_name: Intranet
    client_secret_file: /run/secrets/intranet
    redirect_uris: ["https://app.example.com/oauth2/callback"]
` + "```" + `
`

func shown(v reflect.Value) string {
	if v.Kind() == reflect.Slice && v.Len() == 0 {
		return "none"
	}
	if s := fmt.Sprint(v.Interface()); s != "" {
		return "`" + s + "`"
	}
	return ""
}

// fieldComments gives the comment of every field of every struct in a file, as
// one line, by Struct.Field.
func fieldComments(t *testing.T, file string) map[string]string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		fields, ok := spec.Type.(*ast.StructType)
		if !ok {
			return true
		}
		for _, f := range fields.Fields.List {
			for _, name := range f.Names {
				text := f.Doc.Text() + f.Comment.Text()
				out[spec.Name.Name+"."+name.Name] = strings.Join(strings.Fields(text), " ")
			}
		}
		return true
	})
	if len(out) == 0 {
		t.Fatalf("%s has no structs", file)
	}
	return out
}
