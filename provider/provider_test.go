package provider

import (
	"strings"
	"testing"

	"github.com/sealpost/sealpost/keys"
)

func TestNewWantsEverySetting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, forget := range map[string]func(*Config){
		"Issuer":      func(c *Config) { c.Issuer = "" },
		"Secret":      func(c *Config) { c.Secret = keys.Secret{} },
		"Keys":        func(c *Config) { c.Keys = nil },
		"Store":       func(c *Config) { c.Store = nil },
		"Templates":   func(c *Config) { c.Templates = nil },
		"Allowed":     func(c *Config) { c.Allowed = nil },
		"Now":         func(c *Config) { c.Now = nil },
		"CodeTTL":     func(c *Config) { c.CodeTTL = 0 },
		"AccessTTL":   func(c *Config) { c.AccessTTL = -1 },
		"IDTTL":       func(c *Config) { c.IDTTL = 0 },
		"RefreshTTL":  func(c *Config) { c.RefreshTTL = 0 },
		"RefreshIdle": func(c *Config) { c.RefreshIdle = 0 },
	} {
		c := w.provider.cfg
		forget(&c)
		if p, err := New(c); p != nil || err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	c := w.provider.cfg
	c.Log = nil
	if _, err := New(c); err != nil {
		t.Errorf("Log is optional: %v", err)
	}
}

func TestErrors(t *testing.T) {
	for code, status := range map[string]int{
		invalidRequest: 400, invalidGrant: 400, invalidScope: 400, unauthorizedClient: 400, unsupportedGrantType: 400,
		invalidClient: 401, invalidToken: 401, insufficientScope: 403, accessDenied: 403, serverError: 500, temporarilyUnavailable: 503,
	} {
		if got := (&Error{Code: code}).status(); got != status {
			t.Errorf("RFC 6749 §5.2: %s is %d, want %d", code, got, status)
		}
	}
	e := errCode.because(errBroken)
	if e.Unwrap() != errBroken || !strings.Contains(e.Error(), broken) || e.Code != errCode.Code || e.Description != errCode.Description || errCode.Err != nil {
		t.Errorf("because: %#v", e)
	}
	if got := publicError(errBroken); got.Code != temporarilyUnavailable || strings.Contains(got.Description, broken) {
		t.Errorf("the public error is %#v", got)
	}
}
