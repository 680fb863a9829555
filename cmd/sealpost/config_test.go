package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// loadFile loads settings from text as if it were sealpost.yaml.
func loadFile(t *testing.T, text string, environ, overrides []string) (Settings, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sealpost.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(Defaults(), file, environ, overrides)
}

func TestDefaultsAreValid(t *testing.T) {
	s := Defaults()
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
}

func TestPrecedenceIsFlagEnvironmentFileDefault(t *testing.T) {
	const file = "login: {link_ttl: 20m, session_ttl: 48h, session_idle: 24h}\nbranding: {name: File}"
	s, err := loadFile(t, file,
		[]string{"SEALPOST_LOGIN_SESSION_TTL=72h", "SEALPOST_LOGIN_SESSION_IDLE=36h", "SEALPOST_BRANDING_NAME="},
		[]string{"login.session_idle=3600"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from      string
		have      any
		want      any
		otherwise string
	}{
		{"flag", s.Login.SessionIdle, Duration(time.Hour), "a flag comes before the environment"},
		{"environment", s.Login.SessionTTL, Duration(72 * time.Hour), "the environment comes before the file"},
		{"file", s.Login.LinkTTL, Duration(20 * time.Minute), "the file comes before the default"},
		{"default", s.Tokens.IDTTL, Duration(time.Hour), "the default is last"},
		{"empty variable", s.Branding.Name, "File", "an empty variable is none"},
	} {
		if c.have != c.want {
			t.Errorf("%s: have %v, want %v: %s", c.from, c.have, c.want, c.otherwise)
		}
	}
}

func TestEveryKeyHasAVariable(t *testing.T) {
	seen := map[string]string{}
	for _, k := range known() {
		if other, ok := seen[k.variable()]; ok {
			t.Errorf("%s and %s share %s", k.key(), other, k.variable())
		}
		seen[k.variable()] = k.key()
		if notSetting(k.variable()) {
			t.Errorf("%s is taken for a variable of Kubernetes or of tests", k.variable())
		}
	}
	if len(seen) < 30 {
		t.Errorf("only %d keys", len(seen))
	}
}

func TestListsInTheEnvironment(t *testing.T) {
	s, err := Load(Defaults(), "", []string{
		"SEALPOST_LOGIN_ALLOW=*@example.com, user@example.org",
		"SEALPOST_TRUSTED_PROXIES=10.0.0.0/8,192.0.2.1",
		`SEALPOST_CLIENTS=[{"client_id": "a", "redirect_uris": ["https://a.example/cb"]}]`,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"*@example.com", "user@example.org"}; !reflect.DeepEqual(s.Login.Allow, want) {
		t.Errorf("allow: %v", s.Login.Allow)
	}
	if have := fmt.Sprint(s.TrustedProxies); have != "[10.0.0.0/8 192.0.2.1/32]" {
		t.Errorf("trusted_proxies: %s", have)
	}
	if len(s.Clients) != 1 || s.Clients[0].ID != "a" {
		t.Errorf("clients: %+v", s.Clients)
	}
	// An empty allow list is everyone: nobody gets there by variables that are unset.
	if _, err := Load(Defaults(), "", []string{"SEALPOST_LOGIN_ALLOW= , "}, nil); err == nil || !strings.Contains(err.Error(), "SEALPOST_LOGIN_ALLOW") {
		t.Errorf("a list without items: %v", err)
	}
	if s, err := Load(Defaults(), "", []string{"SEALPOST_LOGIN_ALLOW="}, nil); err != nil || len(s.Login.Allow) != 0 {
		t.Errorf("no list: %v %v", s.Login.Allow, err)
	}
}

func TestWebFingerDomainsAreDomains(t *testing.T) {
	for _, bad := range []string{"@example.com", "https://example.com", "*.example.com", "exämple.com", "localhost"} {
		if _, err := Load(Defaults(), "", []string{"SEALPOST_WEBFINGER_DOMAINS=" + bad}, nil); err == nil || !strings.Contains(err.Error(), "webfinger_domains") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if s, err := Load(Defaults(), "", []string{"SEALPOST_WEBFINGER_DOMAINS=example.com, xn--exmple-cua.com"}, nil); err != nil || len(s.WebFingerDomains) != 2 {
		t.Errorf("%v %v", s.WebFingerDomains, err)
	}
}

// Addresses of requests are plain IPv4 where they can be: a network written the
// other way would match nothing.
func TestTrustedProxiesAreNetworks(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.7":             "[10.0.0.7/32]",
		"10.0.0.7/8":           "[10.0.0.0/8]",
		"::ffff:10.0.0.7":      "[10.0.0.7/32]",
		"fd00::1%eth0":         "[fd00::1/128]",
		"fd00::/8":             "[fd00::/8]",
		"::ffff:10.0.0.0/104":  "write a network such as 10.0.0.0/8",
		"10.0.0.0/33":          "write a network such as 10.0.0.0/8",
		"0.0.0.0/0":            "is the whole internet",
		"10.0.0.0/8,::/0":      "is the whole internet",
		"proxy.example.com":    "write a network such as 10.0.0.0/8",
		"10.0.0.0-10.0.0.9":    "write a network such as 10.0.0.0/8",
		"10.0.0.1, 192.0.2.0/": "write a network such as 10.0.0.0/8",
	} {
		s, err := Load(Defaults(), "", []string{"SEALPOST_TRUSTED_PROXIES=" + text}, nil)
		have := fmt.Sprint(s.TrustedProxies)
		if err != nil {
			have = err.Error()
		}
		if !strings.Contains(have, want) {
			t.Errorf("%q: have %s, want %s", text, have, want)
		}
	}
}

func TestSecretsComeFromFiles(t *testing.T) {
	const secret = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		yaml    string
		environ []string
	}{
		"key":                            {"secret_file: " + file, nil},
		"variable":                       {"", []string{"SEALPOST_SECRET_FILE=" + file}},
		"variable over the file's value": {"secret: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", []string{"SEALPOST_SECRET_FILE=" + file}},
		"value over the file's file":     {"secret_file: /nowhere", []string{"SEALPOST_SECRET=" + secret}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := loadFile(t, c.yaml, c.environ, nil)
			if err != nil {
				t.Fatal(err)
			}
			if string(s.Secret) != secret {
				t.Error("the secret is another")
			}
		})
	}
}

func TestErrorsNameKeyValueAndFix(t *testing.T) {
	for _, c := range []struct {
		name, yaml string
		environ    []string
		want       []string
	}{
		{"unknown key", "login: {link_tll: 15m}", nil, []string{"sealpost.yaml:1: login.link_tll is unknown; did you mean login.link_ttl?"}},
		{"unknown key far from all", "qqqqqqqq: 1", nil, []string{"sealpost.yaml:1: qqqqqqqq is unknown\n"}},
		{"unknown variable", "", []string{"SEALPOST_MAIL_ULR=x"}, []string{"SEALPOST_MAIL_ULR is unknown; did you mean SEALPOST_MAIL_URL?"}},
		{"a service of Kubernetes is no setting", "listen: x", []string{"SEALPOST_SERVICE_HOST=1", "SEALPOST_PORT_8080_TCP_ADDR=1", "SEALPOST_PORT=tcp://1"}, []string{`listen: "x": write host:port`}},
		{"everything at once", "issuer: ftp://x\nlisten: x\nlogin: {signup: x}", nil, []string{`issuer: "ftp://x"`, `listen: "x"`, `login.signup: "x": write open or invite`}},
		{"duplicate key", "issuer: http://localhost\nissuer: http://localhost", nil, []string{"sealpost.yaml:2: issuer is set twice"}},
		{"value and file", "secret: x\nsecret_file: y", nil, []string{"secret and secret_file are both set; keep one"}},
		{"duration", "login: {link_ttl: soon}", nil, []string{`login.link_ttl: "soon": write a duration such as 15m`}},
		{"lifetime", "tokens: {code_ttl: 1h}", nil, []string{`tokens.code_ttl: "1h": must be between 1s and 10m`}},
		{"limit", "limits: {per_address: many}", nil, []string{`limits.per_address: "many"`}},
		{"list for a value", "issuer: [a]", nil, []string{"issuer: write a single value"}},
		{"value for a group", "login: x", nil, []string{"login: write keys and values"}},
		{"missing file", "secret_file: /nowhere", nil, []string{`secret_file: "/nowhere": cannot be read: no such file`}},
		{"short secret", "secret: YWJj", nil, []string{"secret has 3 bytes, wants 32; make one with: sealpost secret"}},
		{"issuer with a path", "issuer: https://example.com/a", nil, []string{"leave out path, query and trailing slash: https://example.com"}},
		{"issuer with a slash", "issuer: https://example.com/", nil, []string{"leave out path, query and trailing slash: https://example.com"}},
		{"issuer without TLS", "issuer: http://example.com", nil, []string{"use https; http is for loopback hosts alone"}},
		{"issuer in other letters", "issuer: https://login.exämple.com", nil, []string{"write the host as browsers send it, in ASCII"}},
		{"issuer with a default port", "issuer: https://example.com:443", nil, []string{"leave out the default port"}},
		{"database", "database: mysql://x", nil, []string{`database: "mysql://x": write sqlite:FILE or postgres://`}},
		{"half of TLS", "tls: {cert_file: config.go}", nil, []string{"give cert_file and key_file together"}},
		{"accent", "branding: {accent: red}", nil, []string{`branding.accent: "red": write a colour such as #3355ff`}},
		{"patterns", "login: {allow: [example.com]}", nil, []string{`login.allow: "example.com"`}},
		{"registration", "registration: {dynamic: some, client_id_metadata: open}", nil, []string{`registration.dynamic: "some": write off, token or open`, `registration.client_id_metadata: "open": write on or off`}},
		{"resources", "resources: [api, 'https://api.example.com/#x']", nil, []string{`resources: "api": write an absolute address`, `resources: "https://api.example.com/#x"`}},
		{"outbound", "outbound: {allow: [0.0.0.0/0], ca_file: /nowhere}", nil, []string{`outbound.allow[0]: "0.0.0.0/0": is the whole internet`, `outbound.ca_file: "/nowhere": cannot be read: no such file`}},
		{"outbound, no certificates", "outbound: {ca_file: config.go}", nil, []string{`outbound.ca_file: "config.go": there is no certificate in it; write a PEM file`}},
		{"tokens", "tokens: {dpop_nonce: perhaps}", nil, []string{`tokens.dpop_nonce: "perhaps": write true or false`}},
		{"answers to nobody", "mail: {reply_to: Support <support@example.com>}", nil, []string{`mail.reply_to: "Support <support@example.com>": write one bare address: support@example.com`}},
		{"half of DKIM", "mail: {dkim: {domain: example.com}}", nil, []string{"mail.dkim.selector is not set: write", "mail.dkim.key_file is not set: make a key with: sealpost mail dkim --new dkim.pem"}},
		{"half of the second key", "mail: {dkim: {ed25519_selector: s2}}", nil, []string{`mail.dkim: "s2": give ed25519_selector and ed25519_key_file together`}},
		{"DKIM, no key", "mail: {dkim: {domain: example.com, selector: s1, key_file: config.go}}", nil, []string{`mail.dkim.key_file: "config.go": write one unencrypted private key in PEM`}},
		{"DKIM, no file", "mail: {dkim: {selector: s1, key_file: /nowhere}}", nil, []string{`mail.dkim.key_file: "/nowhere": cannot be read: no such file`}},
		{"Cloudflare", "mail: {url: 'cloudflare://a:topsecret@x'}", nil, []string{`mail.url: "cloudflare://a:[secret]@x": write cloudflare://ACCOUNT:TOKEN`}},
		{"Cloudflare elsewhere", "mail: {url: 'cloudflare://0123456789abcdef0123456789abcdef:topsecret?api_url=http://192.0.2.1'}", nil, []string{`mail.url: "cloudflare://0123456789abcdef0123456789abcdef:[secret]": api_url is for tests on this machine`}},
		{"two documents", "issuer: http://localhost\n---\nlisten: x", nil, []string{"second document"}},
		{"no mapping", "- a", nil, []string{"write keys and values"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := loadFile(t, c.yaml, c.environ, nil)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error()+"\n", want) {
					t.Errorf("have:\n%v\nwant: %s", err, want)
				}
			}
			if strings.Contains(err.Error(), "topsecret") {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

func TestFlagsSetNoSecrets(t *testing.T) {
	_, err := Load(Defaults(), "", nil, []string{"mail.url=smtp://u:p@h"})
	if err == nil || !strings.Contains(err.Error(), "SEALPOST_MAIL_URL_FILE") {
		t.Errorf("have %v, want the way by environment", err)
	}
}

func TestJSONIsYAML(t *testing.T) {
	s, err := loadFile(t, `{"issuer": "https://login.example.com", "tokens": {"id_ttl": 120}}`, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.Issuer != "https://login.example.com" || s.Tokens.IDTTL != Duration(2*time.Minute) {
		t.Errorf("have %+v", s)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	const topsecret = "topsecret"
	s := Defaults()
	s.Secret, s.Mail.URL = topsecret, "smtp://user:topsecret@host:587"
	s.Database = "postgres://u:topsecret@h/db?sslpassword=topsecret"
	s.Clients = []Client{{Secret: topsecret}}
	var logged strings.Builder
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "settings", s, "secret", s.Secret, "url", s.Mail.URL)
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%+v", s), fmt.Sprintf("%#v", s), fmt.Sprintf("%q", s.Mail.URL), logged.String()} {
		if strings.Contains(text, topsecret) {
			t.Errorf("printed: %s", text)
		}
	}
}

func TestSecretURLsPrintWithoutPassword(t *testing.T) {
	for in, want := range map[SecretURL]string{
		"":                               "",
		"sqlite:sealpost.db":             "sqlite:sealpost.db",
		"smtp://h:25":                    "smtp://h:25",
		"smtp://u:p%40ss@h:25":           "smtp://u:[secret]@h:25",
		"smtp://token@h:25":              "smtp://[secret]@h:25", // half of what was meant
		"postgres://u:p@h/db?password=p": "postgres://u:[secret]@h/db?password=secret",
		"cloudflare:ACCOUNT:TOKEN":       "cloudflare:[secret]",
		"cloudflare://0123456789abcdef0123456789abcdef:T/?x@y": "cloudflare://0123456789abcdef0123456789abcdef:[secret]",
		"hunter2":                   "[secret]",
		"smtp://u:p%zz@h":           "[secret]",
		"smtp://u:p@h@h:1":          "smtp://u:[secret]@h:1",
		"smtp://u:1/2@h":            "smtp://[secret]", // the password has a bare /, ? or #
		"smtp://u:1?2@h":            "smtp://[secret]",
		"smtp://u:#12@h":            "smtp://[secret]",
		"smtp://a@b:1/2@h":          "smtp://[secret]",
		"smtps://TOKEN:TOKEN@h:465": "smtps://secret:[secret]@h:465",
		"sqlite:data@home.db":       "sqlite:data@home.db",
	} {
		if have := in.String(); have != want {
			t.Errorf("%d characters: have %s, want %s", len(in), have, want)
		}
	}
}

func TestDurationsAreWrittenShort(t *testing.T) {
	for in, want := range map[time.Duration]string{720 * time.Hour: "720h", 15 * time.Minute: "15m", 90 * time.Second: "1m30s", 90 * time.Minute: "1h30m", 0: "0s", time.Second: "1s"} {
		if have := Duration(in).String(); have != want {
			t.Errorf("%v: have %s, want %s", in, have, want)
		}
		back, err := parseDuration(Duration(in).String())
		if err != nil || back != Duration(in) {
			t.Errorf("%v: read back as %v, %v", in, back, err)
		}
	}
}

// What sealpost dev keeps is for its owner alone, and stays.
func TestDevKeepsItsSecret(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "er")
	c := devCommand{Dir: dir}
	first, err := c.secret()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.secret(); err != nil || again != first {
		t.Errorf("another secret the second time: %v", err)
	}
	for name, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "secret"): 0o600} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if _, err := (devCommand{Dir: filepath.Join(dir, "secret")}).secret(); err == nil {
		t.Error("a file is no folder")
	}
	if err := os.Remove(filepath.Join(dir, "secret")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "secret"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := c.secret(); err == nil {
		t.Error("a folder is no secret")
	}
}
