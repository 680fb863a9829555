package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sealpost/sealpost/keys"
	"github.com/sealpost/sealpost/provider"
	"github.com/sealpost/sealpost/storage"
)

type clientCommand struct {
	Add    clientAdd    `cmd:"" help:"Add an application."`
	List   clientList   `cmd:"" help:"List all applications, those of the settings file included."`
	Show   clientShow   `cmd:"" help:"Show one application."`
	Set    clientSet    `cmd:"" help:"Change an application; its secret and what people allowed it stay."`
	Remove clientRemove `cmd:"" help:"Remove an application."`
	Rotate clientRotate `cmd:"" name:"rotate-secret" help:"Give an application a new secret; the old one ends at once."`
	Token  clientToken  `cmd:"" name:"registration-token" help:"Make a token with which applications register themselves."`
}

// Help is shown by sealpost client --help.
func (clientCommand) Help() string {
	return `These commands work on the database, beside a running server, which notices within seconds.
Applications in the settings file are managed there.

  sealpost client add grafana --config sealpost.yaml --redirect-uri https://grafana.example.com/login/generic_oauth
  sealpost client add app --config sealpost.yaml --public --native --redirect-uri http://127.0.0.1/callback
  sealpost client add backend --config sealpost.yaml --grant client_credentials --jwks-file keys.json
  sealpost client list --config sealpost.yaml --json
  sealpost client show grafana --config sealpost.yaml
  sealpost client set grafana --config sealpost.yaml --redirect-uri https://metrics.example.com/login/generic_oauth
  sealpost client rotate-secret grafana --config sealpost.yaml
  sealpost client remove grafana --config sealpost.yaml
  sealpost client registration-token --config sealpost.yaml --ttl 1h`
}

// clientFlags are the flags of every command that works on the database.
type clientFlags struct {
	settingsFlags
	JSON bool `name:"json" help:"Print JSON."`
}

// listedClient is a client as the command line shows one.
type listedClient struct {
	storage.Client
	Source string `json:"source"` // who manages it: "settings" or "database"
	Secret string `json:"client_secret,omitempty"`
}

// withStore opens the database of the settings, which must be there, and does
// something to it.
func (f clientFlags) withStore(p *process, do func(s Settings, db store) error) error {
	s, err := f.load(p, Defaults())
	if err != nil {
		return err
	}
	if err := s.mustExist(); err != nil {
		return err
	}
	return f.with(p, s, true, do)
}

// withNewStore is withStore for what may be the first thing that a database
// holds: it is made when there is none.
func (f clientFlags) withNewStore(p *process, do func(s Settings, db store) error) error {
	s, err := f.load(p, Defaults())
	if err != nil {
		return err
	}
	return f.with(p, s, false, do)
}

func (clientFlags) with(p *process, s Settings, old bool, do func(s Settings, db store) error) error {
	db, err := openMigrated(p.ctx, &s, old)
	if err != nil {
		return err
	}
	return errors.Join(do(s, by(db, "operator")), db.Close())
}

// inFile finds a client of the settings file.
func (s *Settings) inFile(id string) (storage.Client, bool) {
	i := slices.IndexFunc(s.Clients, func(c Client) bool { return c.ID == id })
	if i < 0 {
		return storage.Client{}, false
	}
	return s.Clients[i].Client, true
}

// fixedClients are the clients of the settings file.
func (s *Settings) fixedClients() []storage.Client {
	var fixed []storage.Client
	for _, c := range s.Clients {
		fixed = append(fixed, c.Client)
	}
	return fixed
}

// inDatabase refuses a client of the settings file, which these commands cannot
// change.
func (s *Settings) inDatabase(id string) error {
	if _, ok := s.inFile(id); ok {
		return usageError{fmt.Errorf("client %q is in the settings file: change it there", id)}
	}
	return nil
}

// clientFields are what can be said of a client; nil is not said.
type clientFields struct {
	Name          *string  `help:"Name that people see. The id when left out."`
	RedirectURI   []string `name:"redirect-uri" sep:"none" placeholder:"URI" help:"Where the browser goes after the login. Repeat for several."`
	PostLogoutURI []string `name:"post-logout-redirect-uri" sep:"none" placeholder:"URI" help:"Where the browser may go after a logout."`
	JWKSFile      string   `name:"jwks-file" placeholder:"FILE" help:"Its public keys, a JWK Set: it proves itself with them and has no secret."`
	JWKSURI       *string  `name:"jwks-uri" placeholder:"URI" help:"Where it publishes them."`
	Profile       *string  `placeholder:"NAME" help:"openid, or fapi2 (FAPI 2.0 Security Profile)."`
	Grant         []string `placeholder:"GRANT" help:"Grant types, such as client_credentials. Codes and refresh tokens when left out."`
	ResponseType  []string `name:"response-type" sep:"none" placeholder:"TYPE" help:"Response types. code when left out."`
	Scope         *string  `placeholder:"SCOPES" help:"What it may ask for, separated by spaces. The standard scopes when left out."`
	Alg           *string  `name:"id-token-alg" placeholder:"ALG" help:"RS256, ES256, PS256 or EdDSA."`
	Consent       *string  `placeholder:"MODE" help:"skip or ask."`
	RequirePKCE   *bool    `name:"require-pkce" negatable:"" help:"Refuse requests without PKCE."`
	RequirePAR    *bool    `name:"require-par" negatable:"" help:"Refuse requests that were not pushed."`
	DPoP          *bool    `name:"dpop" negatable:"" help:"Bind its access tokens to a key of its own (DPoP)."`
	IDTokenClaims *bool    `name:"id-token-claims" negatable:"" help:"Put the claims of the scopes into the ID token, too. So it is when left out."`
	Backchannel   *string  `name:"backchannel-logout-uri" placeholder:"URI" help:"Where it hears from the server that somebody signed out."`
	Frontchannel  *string  `name:"frontchannel-logout-uri" placeholder:"URI" help:"The same, in a frame of the browser."`
	LogoURI       *string  `name:"logo-uri" placeholder:"URI"`
	ClientURI     *string  `name:"client-uri" placeholder:"URI"`
	Allow         []string `placeholder:"PATTERN" help:"Only these addresses, such as *@example.com."`
	Group         []string `placeholder:"GROUP" help:"Only members of one of these groups."`
}

type clientAdd struct {
	clientFlags
	clientFields
	ID         string `arg:"" help:"The client_id."`
	Public     bool   `help:"No secret: an application on the device or in the browser of the person. PKCE is required."`
	Native     bool   `help:"Runs on the device of the person: loopback http and schemes of its own are allowed."`
	AuthMethod string `name:"auth-method" placeholder:"METHOD" help:"client_secret_basic, client_secret_post, private_key_jwt or none."`
}

// Run adds the client and prints its secret, this once.
func (c clientAdd) Run(p *process) error {
	return c.withNewStore(p, func(s Settings, db store) error {
		if err := s.inDatabase(c.ID); err != nil {
			return err
		}
		client, err := c.client(p.now())
		if err != nil {
			return err
		}
		var secret string
		if c.hasSecret() {
			secret = keys.Token() // base64url: RFC 3986 unreserved, so no client has to escape it (RFC 6749 §2.3.1)
			client.SecretSHA256 = hashClientSecret(secret)
		}
		if wrong := append(append(c.contradictions(), c.misread()...), checkClient(client, s.loopbackIssuer())...); len(wrong) > 0 {
			return usageError{errors.Join(wrong...)}
		}
		client = client.WithDefaults()
		err = db.AddClient(p.ctx, client)
		if errors.Is(err, storage.ErrConflict) {
			return fmt.Errorf("client %q exists already; change it with: sealpost client set %[1]s, or choose another id", c.ID)
		}
		if err != nil {
			return fmt.Errorf("add client: %w", err)
		}
		return c.printSecret(p, listedClient{client, "database", secret})
	})
}

// client is what the flags say.
func (c clientAdd) client(now time.Time) (storage.Client, error) {
	client := storage.Client{ID: c.ID, TokenEndpointAuthMethod: c.AuthMethod, CreatedAt: now, UpdatedAt: now}
	if c.Public {
		client.TokenEndpointAuthMethod = cmp.Or(c.AuthMethod, "none")
	}
	if c.Native {
		client.ApplicationType = "native"
	}
	err := c.over(&client)
	return client, err
}

// over puts what was said in the place of what a client has.
func (f clientFields) over(c *storage.Client) error {
	for to, said := range map[*string]*string{
		&c.Name: f.Name, &c.JWKSURI: f.JWKSURI, &c.Profile: f.Profile, &c.Scope: f.Scope, &c.IDTokenSigningAlg: f.Alg, &c.Consent: f.Consent,
		&c.BackchannelLogoutURI: f.Backchannel, &c.FrontchannelLogoutURI: f.Frontchannel, &c.LogoURI: f.LogoURI, &c.ClientURI: f.ClientURI,
	} {
		if said != nil {
			*to = *said
		}
	}
	for to, said := range map[*[]string][]string{
		&c.RedirectURIs: f.RedirectURI, &c.PostLogoutRedirectURIs: f.PostLogoutURI, &c.GrantTypes: f.Grant, &c.ResponseTypes: f.ResponseType,
		&c.Allow: f.Allow, &c.Groups: f.Group,
	} {
		if said != nil {
			*to = slices.DeleteFunc(slices.Clone(said), func(v string) bool { return v == "" })
		}
	}
	for to, said := range map[*bool]*bool{&c.RequirePAR: f.RequirePAR, &c.DPoPBound: f.DPoP} {
		if said != nil {
			*to = *said
		}
	}
	if f.IDTokenClaims != nil {
		c.IDTokenClaims = f.IDTokenClaims
	}
	if f.RequirePKCE != nil {
		c.RequirePKCE = map[bool]string{true: "always"}[*f.RequirePKCE]
	}
	if f.JWKSFile == "" {
		return nil
	}
	set, err := os.ReadFile(f.JWKSFile)
	if err != nil {
		return usageError{fmt.Errorf("--jwks-file: %q: cannot be read: %w", f.JWKSFile, errors.Unwrap(err))}
	}
	if !json.Valid(set) {
		return usageError{fmt.Errorf("--jwks-file: %q: is no JSON", f.JWKSFile)}
	}
	c.JWKS = set
	return nil
}

// contradictions are flags that do not go together.
func (c clientAdd) contradictions() (wrong problems) {
	if c.Public && (c.JWKSFile != "" || c.JWKSURI != nil || c.AuthMethod != "" && c.AuthMethod != "none") {
		wrong = append(wrong, errors.New("--public: such a client proves itself with nothing; leave out --jwks-file, --jwks-uri and --auth-method"))
	}
	return wrong
}

// misread are lists that are written like those of other flags.
func (f clientFields) misread() (wrong problems) {
	if f.Scope != nil && strings.Contains(*f.Scope, ",") {
		wrong.add("--scope", *f.Scope, "separate scopes by spaces")
	}
	for _, uri := range slices.Concat(f.RedirectURI, f.PostLogoutURI) {
		if _, next, ok := strings.Cut(uri, ","); ok && strings.Contains(next, "://") {
			wrong.add("--redirect-uri", uri, "repeat the flag for several")
		}
	}
	return wrong
}

// hasSecret says whether the client is to prove itself with a secret.
func (c clientAdd) hasSecret() bool {
	if c.AuthMethod != "" {
		return !c.Public && strings.HasPrefix(c.AuthMethod, "client_secret_")
	}
	return !c.Public && c.JWKSFile == "" && c.JWKSURI == nil
}

// printSecret prints a client with its new secret, which is shown nowhere again.
func (f clientFlags) printSecret(p *process, c listedClient) error {
	if f.JSON {
		return f.printJSON(p, c)
	}
	text := fmt.Sprintf("client_id:     %s\n", c.ID)
	if c.Secret != "" {
		text += fmt.Sprintf("client_secret: %s\n", c.Secret)
	}
	_, err := fmt.Fprint(p.stdout, text)
	if c.Secret != "" && err == nil {
		fmt.Fprintln(p.stderr, "The secret is shown this once; only its hash is kept.")
	}
	return err
}

func (clientFlags) printJSON(p *process, v any) error {
	e := json.NewEncoder(p.stdout)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

type clientList struct {
	clientFlags
}

// Run lists the clients of the file and the database.
func (c clientList) Run(p *process) error {
	return c.withStore(p, func(s Settings, db store) error {
		stored, err := db.Clients(p.ctx)
		if err != nil {
			return fmt.Errorf("list clients: %w", err)
		}
		all := []listedClient{}
		for _, client := range s.Clients {
			all = append(all, listedClient{Client: client.WithDefaults(), Source: "settings"})
		}
		for _, client := range stored {
			if _, ok := s.inFile(client.ID); !ok {
				all = append(all, listedClient{Client: client.WithDefaults(), Source: "database"})
			}
		}
		slices.SortFunc(all, func(x, y listedClient) int { return strings.Compare(x.ID, y.ID) })
		if c.JSON {
			return c.printJSON(p, all)
		}
		table := newTable(p.stdout, "CLIENT_ID", "NAME", "TYPE", "SOURCE", "REDIRECT_URI")
		for _, client := range all {
			kind := "confidential"
			if client.Public() {
				kind = "public"
			}
			table.row(client.ID, client.Name, kind, client.Source, strings.Join(client.RedirectURIs, " "))
		}
		return table.flush()
	})
}

type clientShow struct {
	clientFlags
	ID string `arg:"" help:"The client_id."`
}

// Run shows one client. A person and a program read the same JSON.
func (c clientShow) Run(p *process) error {
	return c.withStore(p, func(s Settings, db store) error {
		if client, ok := s.inFile(c.ID); ok {
			return c.printJSON(p, listedClient{Client: client.WithDefaults(), Source: "settings"})
		}
		client, err := db.Client(p.ctx, c.ID)
		if err != nil {
			return s.unknownClient(p, db, c.ID, err)
		}
		return c.printJSON(p, listedClient{Client: client.WithDefaults(), Source: "database"})
	})
}

// unknownClient says what became of looking for a client, with the nearest id.
func (s *Settings) unknownClient(p *process, db store, id string, err error) error {
	if !errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("client %q: %w", id, err)
	}
	all, err := db.Clients(p.ctx)
	if err != nil {
		return fmt.Errorf("list clients: %w", err)
	}
	var ids []string
	for _, c := range slices.Concat(s.fixedClients(), all) {
		ids = append(ids, c.ID)
	}
	return fmt.Errorf("there is no client %q%s; see: sealpost client list", id, suggest(id, ids))
}

type clientSet struct {
	clientFlags
	clientFields
	ID string `arg:"" help:"The client_id."`
}

// Help is shown by sealpost client set --help.
func (clientSet) Help() string {
	return `What is given takes the place of what there is, a list as a whole; the rest stays. An empty value takes it away. How the
application proves itself stays, too: for that, add another one, or give it a new secret.

  sealpost client set grafana --config sealpost.yaml --redirect-uri https://metrics.example.com/login/generic_oauth
  sealpost client set grafana --config sealpost.yaml --group staff --group admins --logo-uri=`
}

// Run changes a client.
func (c clientSet) Run(p *process) error {
	return c.withStore(p, func(s Settings, db store) error {
		client, err := s.changeClient(p, db, c.ID, func(client *storage.Client) error {
			if err := c.over(client); err != nil {
				return err
			}
			if client.SubjectType == "pairwise" && c.RedirectURI != nil { // OIDC Core §8.1
				return usageError{fmt.Errorf("client %q is pairwise: with other redirect URIs its people may be others; add another one", c.ID)}
			}
			if wrong := append(c.misread(), checkClient(*client, s.loopbackIssuer())...); len(wrong) > 0 {
				return usageError{errors.Join(wrong...)}
			}
			return nil
		})
		if err != nil {
			return err
		}
		return c.printJSON(p, listedClient{Client: client, Source: "database"})
	})
}

// changeClient changes a client of the database, unless somebody else does
// meanwhile.
func (s *Settings) changeClient(p *process, db store, id string, change func(c *storage.Client) error) (storage.Client, error) {
	if err := s.inDatabase(id); err != nil {
		return storage.Client{}, err
	}
	seen, err := db.Client(p.ctx, id)
	if err != nil {
		return storage.Client{}, s.unknownClient(p, db, id, err)
	}
	client := seen.WithDefaults()
	if err := change(&client); err != nil {
		return storage.Client{}, err
	}
	client = client.WithDefaults()
	client.UpdatedAt = p.now()
	err = db.SaveClient(p.ctx, client, seen)
	if errors.Is(err, storage.ErrConflict) {
		return storage.Client{}, fmt.Errorf("client %q was changed just now; run it again", id)
	}
	if err != nil {
		return storage.Client{}, fmt.Errorf("save client: %w", err)
	}
	return client, nil
}

type clientRemove struct {
	clientFlags
	ID string `arg:"" help:"The client_id."`
}

// Run removes a client.
func (c clientRemove) Run(p *process) error {
	return c.withStore(p, func(s Settings, db store) error {
		if err := s.inDatabase(c.ID); err != nil {
			return err
		}
		if err := db.RemoveClient(p.ctx, c.ID, p.now()); err != nil {
			return s.unknownClient(p, db, c.ID, err)
		}
		if c.JSON {
			return c.printJSON(p, map[string]string{"removed": c.ID})
		}
		_, err := fmt.Fprintln(p.stdout, "removed", c.ID)
		return err
	})
}

type clientRotate struct {
	clientFlags
	ID string `arg:"" help:"The client_id."`
}

// Run replaces the secret of a client.
func (c clientRotate) Run(p *process) error {
	return c.withStore(p, func(s Settings, db store) error {
		secret := keys.Token()
		client, err := s.changeClient(p, db, c.ID, func(client *storage.Client) error {
			switch {
			case client.Public():
				return usageError{fmt.Errorf("client %q is public: it has no secret", c.ID)}
			case client.SecretSHA256 == "":
				return usageError{fmt.Errorf("client %q proves itself with keys: it has no secret", c.ID)}
			}
			client.SecretSHA256 = hashClientSecret(secret)
			return nil
		})
		if err != nil {
			return err
		}
		return c.printSecret(p, listedClient{client, "database", secret})
	})
}

type clientToken struct {
	clientFlags
	TTL time.Duration `name:"ttl" default:"24h" placeholder:"DURATION" help:"How long it is good. Who has it may register any number of applications until then."`
}

// Run makes an initial access token (RFC 7591 §3). It is kept nowhere.
func (c clientToken) Run(p *process) error {
	s, err := c.load(p, Defaults())
	if err != nil {
		return err
	}
	switch {
	case s.Registration.Dynamic != provider.RegistrationToken:
		return usageError{fmt.Errorf("registration.dynamic: %q: a token is for the setting token", s.Registration.Dynamic)}
	case s.Secret == "":
		return usageError{errors.New("secret is not set: give the one the server has")}
	case c.TTL < time.Second || c.TTL > 365*24*time.Hour:
		return usageError{fmt.Errorf("--ttl: %q: must be between 1s and 8760h", c.TTL)}
	}
	secret, err := s.secrets()
	if err != nil {
		return usageError{err}
	}
	expires := p.now().Add(c.TTL)
	token, err := provider.InitialAccessToken(secret, expires)
	if err != nil {
		return err
	}
	if c.JSON {
		return c.printJSON(p, map[string]string{"initial_access_token": token, "expires_at": stamp(expires)})
	}
	_, err = fmt.Fprintln(p.stdout, token)
	return err
}
