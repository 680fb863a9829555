package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/login"
	"github.com/sealpost/sealpost/provider"
	"github.com/sealpost/sealpost/storage"
	"github.com/sealpost/sealpost/templates"
)

// Settings is everything an operator can set. docs/settings.md is generated
// from the comments of its fields, so they are written for operators.
type Settings struct {
	// The address people and applications see, for example
	// `https://login.example.com`: https unless the host is loopback, without
	// path or trailing slash. Required by `serve`. It is the `iss` of every
	// token, so choose it once.
	Issuer string `yaml:"issuer"`
	// Where HTTP is served: plain HTTP behind a proxy, or HTTPS with `tls`.
	Listen string `yaml:"listen"`
	TLS    TLS    `yaml:"tls"`
	// Where `/metrics` (Prometheus), `/healthz` and `/readyz` are served for the machine's own eyes.
	// `off` switches it off.
	AdminListen string `yaml:"admin_listen"`
	// How long a server that was told to stop goes on serving while `/readyz`
	// says 503, for balancers that ask it and do not try another replica: a
	// little more than they take to notice.
	Drain Duration `yaml:"drain"`
	// What is logged: `debug`, `info` (a line for each request), `warn` or `error`.
	LogLevel string `yaml:"log_level"`
	// Networks (CIDR) of the proxies in front, whose `X-Forwarded-For`, or
	// without one `Forwarded`, is believed. Without them every request counts as
	// the proxy's, and the limit per network becomes a limit for everyone. The
	// proxy must pass on `Host`.
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`
	// `sqlite:FILE` for one machine, `postgres://user:password@host/db` for many.
	Database SecretURL `yaml:"database"`
	// File that holds `database`.
	DatabaseFile string `yaml:"database_file"`
	// Whether `serve` brings the database schema up to date when it starts. With
	// `false`, run `sealpost migrate up` before.
	Migrate bool `yaml:"migrate"`
	// 32 bytes in base64, from `sealpost secret`. It seals the signing keys and
	// proves links and sessions. Keep it apart from the database: neither alone
	// can log anyone in.
	Secret Secret `yaml:"secret"`
	// File that holds `secret`.
	SecretFile string `yaml:"secret_file"`
	// Secrets of before. What was made under them is still taken, and the signing
	// keys are sealed anew. To change the secret without a break: first name the
	// new one here on every instance, then let the two change places, and take the
	// old one away when the sessions of its time have ended.
	PreviousSecrets []Secret `yaml:"previous_secrets"`
	// File that holds `previous_secrets`, one on each line.
	PreviousSecretsFile string       `yaml:"previous_secrets_file"`
	Mail                Mail         `yaml:"mail"`
	Login               Login        `yaml:"login"`
	Limits              Limits       `yaml:"limits"`
	Tokens              Tokens       `yaml:"tokens"`
	Keys                Keys         `yaml:"keys"`
	Audit               Audit        `yaml:"audit"`
	Registration        Registration `yaml:"registration"`
	// Resources (RFC 8707) that access tokens may be for, as absolute addresses.
	// Empty: any that an application names.
	Resources []string `yaml:"resources"`
	Outbound  Outbound `yaml:"outbound"`
	// Domains whose addresses `/.well-known/webfinger` answers for with the
	// issuer, as Tailscale asks: the issuer's own host, and these. The web server
	// of each has to pass that path on.
	WebFingerDomains []string `yaml:"webfinger_domains"`
	// Database of cities or countries in MaxMind's format, such as GeoLite2 City
	// (with an account of maxmind.com) or DB-IP City Lite (db-ip.com, without). With
	// it, mails and pages say about where a login was asked for: "Berlin, Germany"
	// before the network. It is kept in memory and read again when it changes, and
	// nothing is sent anywhere. Mind that its licence wants its source named.
	GeoIPFile string `yaml:"geoip_file"`
	// Folder with pages, mails, messages and styles of your own in place of the
	// built-in ones: [branding.md](branding.md). What is wrong with one is told at
	// start.
	TemplatesDir string   `yaml:"templates_dir"`
	Branding     Branding `yaml:"branding"`
	// The applications. Those added with `sealpost client add` come on top; on
	// the same id the file wins.
	Clients []Client `yaml:"clients"`
}

// TLS is where the certificate is.
type TLS struct {
	// PEM file with the certificate chain. It is read again when it changes.
	CertFile string `yaml:"cert_file"`
	// PEM file with the private key.
	KeyFile string `yaml:"key_file"`
}

// Mail is how mail leaves.
type Mail struct {
	// The mail server: `smtp://user:password@host:587` (STARTTLS required),
	// `smtps://user:password@host:465` (TLS from the start),
	// `smtp+plain://localhost:25` (no TLS; loopback only) or
	// `cloudflare://ACCOUNT:TOKEN` (Cloudflare's Email Service: the account's id and
	// an API token that may send email). `%40` stands for @ in the user name.
	// `?ca_file=FILE` names the certificate authorities (PEM) to
	// believe in place of the system's. Required by `serve`.
	URL SecretURL `yaml:"url"`
	// File that holds `mail.url`.
	URLFile string `yaml:"url_file"`
	// The sender, for example `Example <login@example.com>`. Required by `serve`.
	From string `yaml:"from"`
	// Where answers go, for example `support@example.com`. Empty: to the sender.
	ReplyTo string `yaml:"reply_to"`
	DKIM    DKIM   `yaml:"dkim"`
}

// DKIM is the signature under each mail.
type DKIM struct {
	// Domain that signs (RFC 6376): that of `mail.from`, which it is when empty, or
	// one above it. Without keys below, the mail server has to sign.
	Domain string `yaml:"domain"`
	// Name of the key in the DNS, under `_domainkey.` of the domain;
	// `sealpost mail dkim` prints the record.
	Selector string `yaml:"selector"`
	// PEM file with the private key, RSA of 2048 bits or more;
	// `sealpost mail dkim --new FILE --selector NAME` makes one.
	KeyFile string `yaml:"key_file"`
	// Selector of a second key, Ed25519 (RFC 8463), which not every receiver knows.
	Ed25519Selector string `yaml:"ed25519_selector"`
	// PEM file with the private key of the second;
	// `sealpost mail dkim --new FILE --ed25519 --selector NAME` makes one.
	Ed25519KeyFile string `yaml:"ed25519_key_file"`
}

// Login is who may sign in and for how long.
type Login struct {
	// How long a mailed link is good.
	LinkTTL Duration `yaml:"link_ttl"`
	// How long a session lasts at most.
	SessionTTL Duration `yaml:"session_ttl"`
	// How long a session lasts unused.
	SessionIdle Duration `yaml:"session_idle"`
	// `open`: anyone who is allowed below becomes a user. `invite`: only users
	// that exist may sign in; `sealpost user add` makes them.
	Signup string `yaml:"signup"`
	// Addresses that may sign in: `*@example.com`, `*@*.example.com`,
	// `user@example.com`. Empty: everyone.
	Allow []string `yaml:"allow"`
	// Addresses that may not, whatever `allow` says.
	Deny []string `yaml:"deny"`
}

// Limits are how many links may be asked for.
type Limits struct {
	// Links per mailbox. Case, plus tags and Gmail's dots don't make another
	// mailbox here.
	PerAddress Limit `yaml:"per_address"`
	// Links per network: an IPv4 address or an IPv6 /64.
	PerNetwork Limit `yaml:"per_network"`
	// Links of the whole instance.
	PerInstance Limit `yaml:"per_instance"`
	// Applications that may register themselves per network, changes included.
	Registrations Limit `yaml:"registrations"`
}

// Tokens are the lifetimes of what applications get.
type Tokens struct {
	// Authorization code.
	CodeTTL Duration `yaml:"code_ttl"`
	// Access token.
	AccessTTL Duration `yaml:"access_ttl"`
	// ID token.
	IDTTL Duration `yaml:"id_ttl"`
	// Refresh token, from the login on.
	RefreshTTL Duration `yaml:"refresh_ttl"`
	// Refresh token, from its last use on.
	RefreshIdle Duration `yaml:"refresh_idle"`
	// Whether DPoP proofs need a nonce of this server (RFC 9449), which costs
	// applications one more request now and then.
	DPoPNonce bool `yaml:"dpop_nonce"`
}

// Keys is the life of signing keys.
type Keys struct {
	// How long a signing key signs until the next one takes over, which is
	// published a day before; at least 48h.
	Rotate Duration `yaml:"rotate"`
}

// Audit is the log of who did what.
type Audit struct {
	// How long events are kept, at least 24h; `0` keeps them for ever.
	// `sealpost audit` shows them.
	Keep Duration `yaml:"keep"`
}

// Registration is how applications may register themselves.
type Registration struct {
	// Who may register applications at `/register` (OpenID Connect Dynamic Client
	// Registration, RFC 7591): nobody (`off`), who has a token from `sealpost client
	// registration-token` (`token`), or everyone (`open`). People are asked before
	// they share anything with such an application.
	Dynamic string `yaml:"dynamic"`
	// Whether a `client_id` may be the https address of a document that describes
	// the application, as MCP clients have it: `on` or `off`. People are asked, and
	// see the host.
	ClientIDMetadata string `yaml:"client_id_metadata"`
}

// Outbound is where the server goes by itself, for addresses that applications
// name: their keys, request objects, sectors, documents, back-channel logout.
type Outbound struct {
	// Networks (CIDR) besides the public internet that may be reached for
	// applications, such as your own. The server follows no name and no redirect
	// into any other.
	Allow []netip.Prefix `yaml:"allow"`
	// PEM file with certificate authorities that are believed there besides the
	// system's.
	CAFile string `yaml:"ca_file"`
}

// roots are the certificate authorities of CAFile and of the system; nil: those of
// the system.
func (o Outbound) roots() (*x509.CertPool, error) {
	if o.CAFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", errors.Unwrap(err))
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, err
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("there is no certificate in it; write a PEM file")
	}
	return pool, nil
}

// Branding is how pages and mails look.
type Branding struct {
	// Name of the instance, on every page and in every mail.
	Name string `yaml:"name"`
	// Image above each page: PNG, JPEG, GIF, WebP or SVG.
	LogoFile string `yaml:"logo_file"`
	// Colour of buttons and links, `#rgb` or `#rrggbb`.
	Accent string `yaml:"accent"`
	// Where people find help: https, http or mailto.
	SupportURL string `yaml:"support_url"`
	// Language of pages and mails for who wants none of the others that there are,
	// such as `de`; discovery lists them all as `ui_locales_supported`.
	Language string `yaml:"language"`
}

// Client is an application in the settings file: storage.Client, and the ways
// to write its secret.
type Client struct {
	storage.Client `yaml:",inline"`
	// The secret. `client_secret_sha256` keeps even the file free of it.
	Secret Secret `yaml:"client_secret"`
	// File that holds the secret.
	SecretFile string `yaml:"client_secret_file"`
}

// MarshalYAML writes the keys of a client as they are written in the file.
func (c Client) MarshalYAML() (any, error) {
	type plain Client // without this method
	var out, jwks yaml.Node
	if err := errors.Join(out.Encode(plain(c)), yaml.Unmarshal(c.JWKS, &jwks)); err != nil {
		return nil, err
	}
	set(&out, []string{"jwks"}, nil)
	if len(jwks.Content) > 0 {
		set(&out, []string{"jwks"}, jwks.Content[0])
	}
	return &out, nil
}

// Defaults are the settings that nobody changed.
func Defaults() Settings {
	return Settings{
		Listen:      ":8080",
		AdminListen: "127.0.0.1:9090",
		LogLevel:    "info",
		Database:    "sqlite:sealpost.db",
		Migrate:     true,
		Login: Login{
			LinkTTL: Duration(15 * time.Minute), SessionTTL: Duration(720 * time.Hour), SessionIdle: Duration(168 * time.Hour),
			Signup: "open",
		},
		Limits: Limits{
			PerAddress: Limit{login.Limit{Max: 5, Per: 15 * time.Minute}},
			PerNetwork: Limit{login.Limit{Max: 60, Per: 15 * time.Minute}},

			Registrations: Limit{login.Limit{Max: 20, Per: time.Hour}},
		},
		Tokens: Tokens{
			CodeTTL: Duration(time.Minute), AccessTTL: Duration(10 * time.Minute), IDTTL: Duration(time.Hour),
			RefreshTTL: Duration(2160 * time.Hour), RefreshIdle: Duration(720 * time.Hour),
		},
		Keys:         Keys{Rotate: Duration(2160 * time.Hour)},
		Audit:        Audit{Keep: Duration(8760 * time.Hour)},
		Registration: Registration{Dynamic: "off", ClientIDMetadata: "off"},
		Branding:     Branding{Name: "Sealpost", Accent: "#3355ff", Language: "en"},
	}
}

// problems collects what is wrong, all of it: an operator who fixes one thing
// per start is not served.
type problems []error

func (p *problems) add(key string, value any, fix string, args ...any) {
	*p = append(*p, fmt.Errorf("%s: %q: %s", key, fmt.Sprint(value), fmt.Sprintf(fix, args...)))
}

func (p *problems) missing(key, fix string) {
	*p = append(*p, fmt.Errorf("%s is not set: %s", key, fix))
}

const notAvailable = "not available in this version"

// readFiles fills every secret that was given as a file.
func (s *Settings) readFiles() error {
	var wrong problems
	read := func(key, file string, take func(string)) {
		if file == "" {
			return
		}
		content, err := os.ReadFile(file)
		text := strings.TrimSpace(string(content))
		switch {
		case err != nil:
			wrong.add(key, file, "cannot be read: %v", errors.Unwrap(err))
		case text == "":
			wrong.add(key, file, "the file is empty")
		default:
			take(text)
		}
	}
	read("secret_file", s.SecretFile, func(v string) { s.Secret = Secret(v) })
	read("previous_secrets_file", s.PreviousSecretsFile, func(v string) {
		for line := range strings.Lines(v) {
			s.PreviousSecrets = append(s.PreviousSecrets, Secret(strings.TrimSpace(line)))
		}
	})
	read("database_file", s.DatabaseFile, func(v string) { s.Database = SecretURL(v) })
	read("mail.url_file", s.Mail.URLFile, func(v string) { s.Mail.URL = SecretURL(v) })
	for i := range s.Clients {
		read(clientKey(i, "client_secret_file"), s.Clients[i].SecretFile, func(v string) { s.Clients[i].Secret = Secret(v) })
	}
	return errors.Join(wrong...)
}

// Validate says everything that is wrong with the settings, each with its key,
// its value and the fix.
func (s *Settings) Validate() error {
	var wrong problems
	if s.Issuer != "" {
		if fix := checkIssuer(s.Issuer); fix != "" {
			wrong.add("issuer", s.Issuer, "%s", fix)
		}
	}
	checkListen(&wrong, "listen", s.Listen)
	if s.AdminListen != "off" {
		checkListen(&wrong, "admin_listen", s.AdminListen)
	}
	if !slices.Contains(logLevels, s.LogLevel) {
		wrong.add("log_level", s.LogLevel, "write debug, info, warn or error")
	}
	if (s.TLS.CertFile == "") != (s.TLS.KeyFile == "") {
		wrong.add("tls", s.TLS.CertFile+s.TLS.KeyFile, "give cert_file and key_file together")
	}
	for _, f := range []struct{ key, file string }{
		{"tls.cert_file", s.TLS.CertFile}, {"tls.key_file", s.TLS.KeyFile}, {"branding.logo_file", s.Branding.LogoFile},
		{"geoip_file", s.GeoIPFile}, {"templates_dir", s.TemplatesDir},
	} {
		if _, err := os.Stat(f.file); f.file != "" && err != nil {
			wrong.add(f.key, f.file, "cannot be read: %v", errors.Unwrap(err))
		}
	}
	if _, _, err := s.engine(); err != nil {
		wrong.add("database", s.Database, "%v", err)
	}
	if s.Secret != "" {
		if _, err := s.secrets(); err != nil {
			wrong = append(wrong, err) // names the key and the fix, and never the value
		}
	}
	s.validateMail(&wrong)
	s.validateLifetimes(&wrong)
	if s.Login.Signup != "open" && s.Login.Signup != "invite" {
		wrong.add("login.signup", s.Login.Signup, "write open or invite")
	}
	for _, list := range []struct {
		key      string
		patterns []string
	}{{"login.allow", s.Login.Allow}, {"login.deny", s.Login.Deny}} {
		if err := login.CheckPatterns(list.patterns); err != nil {
			wrong.add(list.key, strings.Join(list.patterns, ", "), "%v", err)
		}
	}
	for _, domain := range s.WebFingerDomains {
		if login.CheckPatterns([]string{"*@" + domain}) != nil || strings.Contains(domain, "*") || strings.ContainsFunc(domain, func(r rune) bool { return r > '~' }) {
			wrong.add("webfinger_domains", domain, "write a domain such as example.com, in ASCII")
		}
	}
	s.validateOptions(&wrong)
	s.validateClients(&wrong)
	return errors.Join(wrong...)
}

// logLevels are what log_level can be.
var logLevels = []string{"debug", "info", "warn", "error"}

func (s *Settings) level() (l slog.Level) {
	_ = l.UnmarshalText([]byte(s.LogLevel)) // it is one of logLevels
	return l
}

// secrets reads the secret and those of before.
func (s *Settings) secrets() (keys.Secret, error) {
	previous := make([]string, len(s.PreviousSecrets))
	for i, p := range s.PreviousSecrets {
		previous[i] = string(p)
	}
	return keys.ParseSecrets(string(s.Secret), previous...)
}

// checkIssuer gives the fix for a bad issuer (OIDC Discovery §3, RFC 8414 §2).
func checkIssuer(issuer string) string {
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || u.User != nil:
		return "write an address such as https://login.example.com"
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		return "use https; http is for loopback hosts alone"
	case u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(issuer, "#"):
		return "leave out path, query and trailing slash: " + u.Scheme + "://" + u.Host
	case strings.ContainsFunc(issuer, func(r rune) bool { return r > '~' }):
		return "write the host as browsers send it, in ASCII: xn--…"
	case strings.ToLower(issuer) != issuer:
		return "write it in lower case: " + strings.ToLower(issuer)
	case u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80":
		return "leave out the default port: " + u.Scheme + "://" + u.Hostname()
	}
	return ""
}

// loopbackIssuer says whether this is an instance for one machine, whose
// clients may have plain http addresses on it, too.
func (s *Settings) loopbackIssuer() bool {
	u, err := url.Parse(s.Issuer)
	return err == nil && u.Scheme == "http" && isLoopback(u.Hostname())
}

func isLoopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") { // RFC 6761 §6.3
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

func checkListen(wrong *problems, key, value string) {
	if _, port, err := net.SplitHostPort(value); err != nil || port == "" {
		wrong.add(key, value, "write host:port, or :port for every address")
	}
}

// engine gives the name of the storage engine and what it opens.
func (s *Settings) engine() (engine, source string, err error) {
	database := string(s.Database)
	if file, ok := strings.CutPrefix(database, "sqlite:"); ok {
		if file = strings.TrimPrefix(file, "//"); file == "" || strings.HasPrefix(file, ":memory:") {
			return "", "", errors.New("name the file: sqlite:sealpost.db")
		}
		return "sqlite", file, nil
	}
	u, err := url.Parse(database)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return "", "", errors.New("write sqlite:FILE or postgres://user:password@host/db")
	}
	return "postgres", database, nil
}

func (s *Settings) validateLifetimes(wrong *problems) {
	for _, d := range []struct {
		key      string
		value    Duration
		min, max time.Duration
	}{
		{"login.link_ttl", s.Login.LinkTTL, time.Minute, 24 * time.Hour},
		{"login.session_ttl", s.Login.SessionTTL, time.Minute, 400 * 24 * time.Hour}, // RFC 6265bis §5.5: cookies live 400 days
		{"login.session_idle", s.Login.SessionIdle, time.Minute, 400 * 24 * time.Hour},
		{"tokens.code_ttl", s.Tokens.CodeTTL, time.Second, 10 * time.Minute}, // RFC 6749 §4.1.2
		{"tokens.access_ttl", s.Tokens.AccessTTL, time.Second, 24 * time.Hour},
		{"tokens.id_ttl", s.Tokens.IDTTL, time.Second, 24 * time.Hour},
		{"tokens.refresh_ttl", s.Tokens.RefreshTTL, time.Minute, 10 * 365 * 24 * time.Hour},
		{"tokens.refresh_idle", s.Tokens.RefreshIdle, time.Minute, 10 * 365 * 24 * time.Hour},
		{"keys.rotate", s.Keys.Rotate, 48 * time.Hour, 10 * 365 * 24 * time.Hour},
		{"drain", s.Drain, 0, time.Hour},
	} {
		if v := time.Duration(d.value); v < d.min || v > d.max {
			wrong.add(d.key, d.value, "must be between %s and %s", Duration(d.min), Duration(d.max))
		}
	}
	if keep := time.Duration(s.Audit.Keep); keep != 0 && keep < 24*time.Hour {
		wrong.add("audit.keep", s.Audit.Keep, "must be at least 24h, or 0 to keep events for ever")
	}
}

var accent = regexp.MustCompile(`^#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$`)

func (s *Settings) validateOptions(wrong *problems) {
	switch s.Registration.Dynamic {
	case provider.RegistrationOff, provider.RegistrationToken, provider.RegistrationOpen:
	default:
		wrong.add("registration.dynamic", s.Registration.Dynamic, "write off, token or open")
	}
	if s.Registration.ClientIDMetadata != "on" && s.Registration.ClientIDMetadata != "off" {
		wrong.add("registration.client_id_metadata", s.Registration.ClientIDMetadata, "write on or off")
	}
	for _, r := range s.Resources {
		if u, err := url.Parse(r); err != nil || u.Scheme == "" || u.Host == "" && u.Opaque == "" || strings.Contains(r, "#") {
			wrong.add("resources", r, "write an absolute address without fragment, such as https://api.example.com")
		}
	}
	if _, err := s.Outbound.roots(); err != nil {
		wrong.add("outbound.ca_file", s.Outbound.CAFile, "%v", err)
	}
	if !accent.MatchString(s.Branding.Accent) {
		wrong.add("branding.accent", s.Branding.Accent, "write a colour such as #3355ff")
	}
	if !slices.Contains(templates.Languages(), s.Branding.Language) {
		wrong.add("branding.language", s.Branding.Language, "write one of %s", strings.Join(templates.Languages(), ", "))
	}
	if u, err := url.Parse(s.Branding.SupportURL); s.Branding.SupportURL != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "mailto") {
		wrong.add("branding.support_url", s.Branding.SupportURL, "write an https or mailto address")
	}
}

// required says what serve cannot do without.
func (s *Settings) required() error {
	var wrong problems
	if s.Issuer == "" {
		wrong.missing("issuer", "write the address people see, such as https://login.example.com")
	}
	if s.Secret == "" && s.SecretFile == "" { // of a file that could not be read it was said
		wrong.missing("secret", "make one with: sealpost secret")
	}
	if s.Mail.URL == "" && s.Mail.URLFile == "" {
		wrong.missing("mail.url", "write the mail server: smtp://user:password@host:587")
	}
	if s.Mail.From == "" {
		wrong.missing("mail.from", "write the sender: Example <login@example.com>")
	}
	return errors.Join(wrong...)
}
