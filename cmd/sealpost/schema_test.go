package main

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/sealpost/sealpost/docs"
	"github.com/sealpost/sealpost/templates"
)

//go:generate go test . -run ^TestSettingsSchema$ -update

const settingsSchema = "../../docs/settings.schema.json"

// enumerations are the settings of which a few values are all.
var enumerations = map[string][]string{
	"log_level":                       logLevels,
	"login.signup":                    {"open", "invite"},
	"registration.dynamic":            {"off", "token", "open"},
	"registration.client_id_metadata": {"off", "on"},
	"branding.language":               templates.Languages(),
}

// object is a JSON object.
type object map[string]any

// schemaOf describes the keys of a struct. Comments are those of the fields, by
// Struct.Field; defaults are the struct's own values, or none for a zero one.
func schemaOf(v reflect.Value, prefix string, comments map[string]string) object {
	properties := object{}
	for f := range fieldsOf(v.Type()) {
		value := v.FieldByIndex(f.index)
		p := schemaOfType(f.Type, prefix+f.name, comments)
		if f.Type.Kind() == reflect.Struct && scalars[f.Type] == nil {
			p = schemaOf(value, prefix+f.name+".", comments)
		}
		if comment := comments[v.Type().Name()+"."+f.StructField.Name]; comment != "" {
			p["description"] = comment
		}
		if s := shown(value); value.Kind() != reflect.Slice && value.Kind() != reflect.Pointer && p["properties"] == nil && s != "" && !value.IsZero() {
			p["default"] = strings.Trim(s, "`")
			if value.Kind() == reflect.Bool {
				p["default"] = value.Bool()
			}
		}
		properties[f.name] = p
	}
	return object{"type": "object", "additionalProperties": false, "properties": properties}
}

func schemaOfType(t reflect.Type, key string, comments map[string]string) object {
	if values := enumerations[key]; values != nil {
		return object{"enum": values}
	}
	switch {
	case t == reflect.TypeFor[Duration]():
		return object{"type": []string{"string", "integer"}, "pattern": `^-?([0-9]+|([0-9.]+(ns|us|µs|ms|s|m|h))+)$`}
	case t == reflect.TypeFor[Limit]():
		return object{"type": "string", "pattern": `^(off|[0-9]+/.+)$`}
	case t == reflect.TypeFor[netip.Prefix](), t.Kind() == reflect.String:
		return object{"type": "string"}
	case t == reflect.TypeFor[json.RawMessage]():
		return object{"type": []string{"object", "string"}}
	case t.Kind() == reflect.Bool:
		return object{"type": "boolean"}
	case t.Kind() == reflect.Int:
		return object{"type": "integer"}
	case t.Kind() == reflect.Pointer:
		return schemaOfType(t.Elem(), key, comments)
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct && scalars[t.Elem()] == nil:
		return object{"type": "array", "items": schemaOf(reflect.Zero(t.Elem()), key+"[].", comments)}
	case t.Kind() == reflect.Slice: // one item is a list of one
		item := schemaOfType(t.Elem(), key, comments)
		return object{"anyOf": []object{item, {"type": "array", "items": item}}}
	}
	return object{}
}

// TestSettingsSchema holds docs/settings.schema.json to the settings and their
// comments; with -update it writes the file.
func TestSettingsSchema(t *testing.T) {
	comments := fieldComments(t, "config.go")
	for name, comment := range fieldComments(t, "../../storage/client.go") {
		if comments[name] == "" {
			comments[name] = comment
		}
	}
	top := schemaOf(reflect.ValueOf(Defaults()), "", comments)
	top["$schema"], top["title"] = "https://json-schema.org/draft/2020-12/schema", "Settings of Sealpost"
	var want bytes.Buffer
	e := json.NewEncoder(&want)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(top); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(settingsSchema, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(docs.SettingsSchema, want.Bytes()) {
		t.Errorf("%s does not say what config.go says; run: make generate", settingsSchema)
	}
}

// TestSchemaTakesWhatTheProgramTakes, and refuses what it refuses, as far as a
// schema can tell.
func TestSchemaTakesWhatTheProgramTakes(t *testing.T) {
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(docs.SettingsSchema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("settings.json", parsed); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("settings.json")
	if err != nil {
		t.Fatal(err)
	}
	check := func(text string) error {
		t.Helper()
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		asJSON, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if v, err = jsonschema.UnmarshalJSON(bytes.NewReader(asJSON)); err != nil {
			t.Fatal(err)
		}
		return schema.Validate(v)
	}
	_, example, _ := strings.Cut(settingsExample, "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	good := map[string]string{"the example of the settings page": example}
	files, err := filepath.Glob("../../deploy/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(file) == "sealpost.yaml" {
			good[file] = string(text)
		}
	}
	if len(good) != 2 {
		t.Errorf("deploy has no sealpost.yaml")
	}
	for _, text := range []string{
		"limits: {per_instance: off, per_address: 5/15m}", "tokens: {id_ttl: 120, code_ttl: 1m30s}", "login: {allow: '*@example.com'}",
		"trusted_proxies: [10.0.0.0/8]", "clients: [{client_id: a, redirect_uris: [https://a.example.com], id_token_claims: false, default_max_age: 60}]",
	} {
		good[text] = text
	}
	for name, text := range good {
		if _, err := loadFile(t, text, nil, nil); err != nil && !strings.Contains(err.Error(), "cannot be read") { // files of another machine
			t.Errorf("the program refuses %s: %v", name, err)
		}
		if err := check(text); err != nil {
			t.Errorf("the schema refuses %s: %v", name, err)
		}
	}
	bad := []string{
		"mial: {}", "login: {link_tll: 15m}", "login: {link_ttl: soon}", "limits: {per_address: many}", "migrate: perhaps", "login: []", "clients: {}",
		"clients: [{client_secrets: hunter2hunter2}]", "issuer: [a]",
	}
	for key, values := range enumerations {
		for _, value := range append(slices.Clone(values), "nonsense") {
			text := key + ": '" + value + "'"
			if group, name, ok := strings.Cut(key, "."); ok {
				text = group + ": {" + name + ": '" + value + "'}"
			}
			if value == "nonsense" {
				bad = append(bad, text)
				continue
			}
			if _, err := loadFile(t, text, nil, nil); err != nil || check(text) != nil {
				t.Errorf("%s: %v, %v", text, err, check(text))
			}
		}
	}
	for _, text := range bad {
		if _, err := loadFile(t, text, nil, nil); err == nil {
			t.Errorf("the program takes %s", text)
		}
		if check(text) == nil {
			t.Errorf("the schema takes %s", text)
		}
	}
}
