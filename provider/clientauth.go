package provider

import (
	"errors"
	"strings"

	"github.com/sealpost/sealpost/storage"
)

// authMethod is one way in which a client proves itself (OIDC Core §9, RFC 6749
// §2.3).
type authMethod struct {
	name string // its registered token_endpoint_auth_method
	// claims says whether the call uses this method, and as which client.
	claims func(c *call) (clientID string, used bool, err error)
	// prove fails unless the call is the client's.
	prove func(p *Provider, c *call, client storage.Client) error
}

// authMethods are all of them. A new one is a file of its own and a line here.
var authMethods = []authMethod{clientSecretBasic, clientSecretPost, privateKeyJWT, noAuthentication}

var errClient = &Error{Code: invalidClient, Description: "client authentication failed"}

// authenticate proves the client of a call: by one method, the registered one.
func (p *Provider) authenticate(c *call) (storage.Client, error) {
	method, id, err := methodOf(c)
	if err != nil {
		return storage.Client{}, err
	}
	if named := c.form.Get("client_id"); named != "" && named != id {
		return storage.Client{}, errClient.because(errors.New("client_id is not the authenticated client's"))
	}
	client, err := p.clients.get(c.Context(), id)
	if errors.Is(err, storage.ErrNotFound) {
		return storage.Client{}, errClient.because(err)
	}
	if err != nil {
		return storage.Client{}, err
	}
	if !mayProve(client, method.name) {
		return storage.Client{}, errClient.because(errors.New("the client is registered for " + client.TokenEndpointAuthMethod + ", and used " + method.name))
	}
	if err := method.prove(p, c, client); err != nil {
		return storage.Client{}, err
	}
	return client, nil
}

// methodOf finds the one method that a call uses (RFC 6749 §2.3).
func methodOf(c *call) (authMethod, string, error) {
	var found authMethod
	var client string
	for _, m := range authMethods {
		id, used, err := m.claims(c)
		switch {
		case err != nil:
			return authMethod{}, "", err
		case used && found.name != "" && m.name != noAuthentication.name:
			return authMethod{}, "", &Error{Code: invalidRequest, Description: "client authentication must use one method"}
		case used && found.name == "":
			found, client = m, id
		}
	}
	if found.name == "" || client == "" {
		return authMethod{}, "", errClient.because(errors.New("no client named"))
	}
	return found, client, nil
}

// mayProve says whether the client may use a method. Whoever has a secret may
// send it either way, whichever it registered: many libraries choose by
// themselves.
func mayProve(c storage.Client, method string) bool {
	const secret = "client_secret_"
	return c.TokenEndpointAuthMethod == method ||
		strings.HasPrefix(c.TokenEndpointAuthMethod, secret) && strings.HasPrefix(method, secret)
}

// selfMade says whether a client came by itself: by registration, or by the
// address of its document.
func selfMade(c storage.Client) bool {
	return registeredItself(c) || strings.Contains(c.ID, "://")
}

// registeredItself says that nobody but the client stands for what is registered.
func registeredItself(c storage.Client) bool { return c.RegistrationTokenSHA256 != "" }

// noAuthentication is that of public clients, which name themselves alone (RFC
// 6749 §3.2.1), some by HTTP Basic with nothing for a secret.
var noAuthentication = authMethod{
	name: "none",
	claims: func(c *call) (string, bool, error) {
		if id := c.form.Get("client_id"); id != "" {
			return id, true, nil
		}
		return basicName(c)
	},
	prove: func(*Provider, *call, storage.Client) error { return nil },
}
