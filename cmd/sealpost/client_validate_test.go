package main

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/sealpost/sealpost/storage"
)

// What is wrong is the provider's to say; of addresses that may sign in, login's.
func TestClientsAreChecked(t *testing.T) {
	good := storage.Client{ID: "app", SecretSHA256: hashClientSecret("0123456789abcdef"), RedirectURIs: []string{"https://app.example.com/cb"}}
	if err := errors.Join(checkClient(good, false)...); err != nil {
		t.Error(err)
	}
	bad := good
	bad.Consent, bad.Allow = "never", []string{"*@example.com", "example.com"}
	bad.RedirectURIs = []string{"http://127.0.0.1/cb"}
	for loopback, want := range map[bool]string{
		false: "consent: \"never\": write skip or ask\nredirect_uris: \"http://127.0.0.1/cb\": use https; http to this machine is for application_type native, or when the issuer is on it, too\n",
		true:  "consent: \"never\": write skip or ask\n",
	} {
		want += "allow: \"*@example.com, example.com\": pattern \"example.com\": write *@example.com"
		if err := errors.Join(checkClient(bad, loopback)...); err == nil || err.Error() != want {
			t.Errorf("have:\n%v\nwant:\n%s", err, want)
		}
	}
}

func TestClientsOfTheFile(t *testing.T) {
	for _, c := range []struct{ name, yaml, want string }{
		{"same id twice", "clients: [{client_id: a, redirect_uris: [https://a.example]}, {client_id: a, redirect_uris: [https://a.example]}]", `clients[1].client_id: "a": another client has this id`},
		{"weak secret", "clients: [{client_id: a, client_secret: weak, redirect_uris: [https://a.example]}]", "clients[0].client_secret has 4 characters"},
		{"secret and hash", "clients: [{client_id: a, client_secret: 0123456789abcdef, client_secret_sha256: x, redirect_uris: [https://a.example]}]", "are both set; keep one"},
		{"later metadata", "clients: [{client_id: a, id_token_encrypted_response_alg: RSA-OAEP}]", "clients[0].id_token_encrypted_response_alg is not available in this version"},
		{"the provider's own", "clients: [{client_id: a, registration_token_sha256: x}]", "clients[0].registration_token_sha256 is unknown"},
		{"keys by two ways", "clients: [{client_id: a, redirect_uris: [https://a.example], jwks_uri: https://a.example/jwks, jwks: {keys: []}}]", `clients[0] "a": jwks_uri: "https://a.example/jwks": jwks is there, too; keep one of the two`},
		{"keys in a list", "clients: [{client_id: a, jwks: [{kty: EC}]}]", "sealpost.yaml:1: clients[0].jwks: write keys and values, or JSON"},
		{"keys that are no JSON", "clients: [{client_id: a, jwks: keys}]", "clients[0].jwks: write keys and values, or JSON"},
		{"keys with a member twice", "clients: [{client_id: a, jwks: {keys: [], keys: []}}]", "clients[0].jwks: write keys and values, or JSON"},
		{"keys under a number", "clients: [{client_id: a, jwks: {1: []}}]", "clients[0].jwks: write keys and values, or JSON"},
		{"private keys", `clients: [{client_id: a, redirect_uris: [https://a.example], jwks: {keys: [{kty: OKP, crv: Ed25519, x: 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo, d: nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A}]}}]`, "a key set has public keys only"},
		{"typo", "clients: [{client_id: a, redirect_uri: https://a.example}]", "did you mean clients[0].redirect_uris?"},
		{"not a list", "clients: a", "clients: write a list"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := loadFile(t, c.yaml, nil, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("have %v, want %q", err, c.want)
			}
		})
	}
	s, err := loadFile(t, "issuer: http://localhost\nclients: [{client_id: a, client_secret: 0123456789abcdef, redirect_uris: ['http://127.0.0.1:9/cb']}]", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.Clients[0].SecretSHA256 != hashClientSecret("0123456789abcdef") {
		t.Error("the secret was not hashed")
	}
}

// The keys of an application are written as YAML, or as JSON in a string, in the
// file and in the environment; sealpost config prints them as the former.
func TestKeysOfClientsOfTheFile(t *testing.T) {
	const key = `{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`
	const client = "client_id: a, redirect_uris: ['https://a.example'], profile: fapi2, jwks: "
	var want any
	if err := json.Unmarshal([]byte(key), &want); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		yaml    string
		environ []string
	}{
		"JSON is YAML": {"clients: [{" + client + key + "}]", nil},
		"a string":     {"clients: [{" + client + "'" + key + "'}]", nil},
		"YAML": {"clients:\n- client_id: a\n  redirect_uris: https://a.example\n  profile: fapi2\n  jwks:\n    keys:\n    - kty: OKP\n      crv: Ed25519\n      kid: \"1\"\n" +
			"      x: 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\n", nil},
		"the environment": {"", []string{"SEALPOST_CLIENTS=[{" + client + key + "}]"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := loadFile(t, c.yaml, c.environ, nil)
			if err != nil {
				t.Fatal(err)
			}
			var have any
			if err := json.Unmarshal(s.Clients[0].JWKS, &have); err != nil || !reflect.DeepEqual(have, want) {
				t.Fatalf("have %s, %v", s.Clients[0].JWKS, err)
			}
			printed, err := yaml.Marshal(s.Clients)
			if err != nil {
				t.Fatal(err)
			}
			var back []struct{ JWKS any }
			if err := yaml.Unmarshal(printed, &back); err != nil || !reflect.DeepEqual(back[0].JWKS, want) {
				t.Errorf("printed as:\n%s", printed)
			}
		})
	}
}
