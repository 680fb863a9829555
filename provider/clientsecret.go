package provider

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/url"

	"github.com/sealpost/sealpost/storage"
)

// clientSecretBasic is HTTP Basic of form-urlencoded id and secret (RFC 6749
// §2.3.1).
var clientSecretBasic = authMethod{
	name: "client_secret_basic",
	claims: func(c *call) (string, bool, error) {
		id, secret, used, err := basicCredentials(c)
		return id, used && secret != "", err
	},
	prove: func(_ *Provider, c *call, client storage.Client) error {
		_, secret, _, err := basicCredentials(c)
		if err != nil {
			return err
		}
		return proveSecret(client, secret)
	},
}

// clientSecretPost is id and secret in the body (RFC 6749 §2.3.1).
var clientSecretPost = authMethod{
	name: "client_secret_post",
	claims: func(c *call) (string, bool, error) {
		return c.form.Get("client_id"), c.form.Get("client_secret") != "", nil
	},
	prove: func(_ *Provider, c *call, client storage.Client) error {
		return proveSecret(client, c.form.Get("client_secret"))
	},
}

func basicCredentials(c *call) (id, secret string, used bool, err error) {
	values := c.Header.Values("Authorization")
	if len(values) == 0 {
		return "", "", false, nil
	}
	id, secret, ok := c.BasicAuth()
	if !ok || len(values) > 1 {
		return "", "", true, errClient.because(errors.New("malformed Authorization header"))
	}
	if id, err = url.QueryUnescape(id); err == nil {
		secret, err = url.QueryUnescape(secret)
	}
	if err != nil {
		return "", "", true, errClient.because(errors.New("id and secret are not form-urlencoded")) // url's own words would show some of them
	}
	return id, secret, true, nil
}

// basicName is who HTTP Basic names without a secret.
func basicName(c *call) (id string, used bool, err error) {
	id, secret, used, err := basicCredentials(c)
	return id, used && secret == "", err
}

func proveSecret(client storage.Client, secret string) error {
	sum := sha256.Sum256([]byte(secret))
	want, err := hex.DecodeString(client.SecretSHA256)
	if err != nil || secret == "" || subtle.ConstantTimeCompare(sum[:], want) != 1 {
		return errClient.because(errors.New("wrong secret"))
	}
	return nil
}
