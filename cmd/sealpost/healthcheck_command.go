package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

type healthcheckCommand struct {
	settingsFlags
	Ready bool `help:"Ask whether it can serve, database included (/readyz), not only whether it is alive (/healthz)."`
}

// Help is shown by sealpost healthcheck --help.
func (healthcheckCommand) Help() string {
	return `Asks the server that runs with the same settings on this machine; exits with 0 when it says yes. It is for
containers, which have neither a shell nor curl; in a Dockerfile it is HEALTHCHECK CMD ["/sealpost", "healthcheck"].

  sealpost healthcheck --config sealpost.yaml`
}

// healthTimeout is a little more than /readyz takes to give up on the database.
const healthTimeout = readyTimeout + time.Second

// Run asks once.
func (c healthcheckCommand) Run(p *process) error {
	s, err := c.load(p, Defaults())
	if err != nil {
		return err
	}
	path := "/healthz"
	if c.Ready {
		path = "/readyz"
	}
	address, err := s.ownAddress()
	if err != nil {
		return usageError{err}
	}
	// Whom it asks it knows by the address; the certificate is for the name of the issuer.
	client := http.Client{Timeout: healthTimeout, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	r, err := http.NewRequestWithContext(p.ctx, http.MethodGet, address+path, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("healthcheck: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		var state struct {
			Status string `json:"status"`
		}
		if json.NewDecoder(io.LimitReader(answer.Body, 1<<10)).Decode(&state) != nil {
			state.Status = "it is no server of this kind" // whoever listens there
		}
		return fmt.Errorf("healthcheck: %s%s: %s: %s", address, path, answer.Status, printable(state.Status))
	}
	fmt.Fprintln(p.stdout, "ok")
	return nil
}

// ownAddress is where a process on this machine reaches the server: the admin
// listener, and where there is none the public one.
func (s *Settings) ownAddress() (string, error) {
	scheme, listen := "http", s.AdminListen
	if listen == "off" {
		listen = s.Listen
		if s.TLS.CertFile != "" {
			scheme = "https"
		}
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", err
	}
	if port == "0" {
		return "", errors.New("healthcheck: the server listens at a port of the system's choice; name one in the settings")
	}
	if addr, err := netip.ParseAddr(host); host == "" || err == nil && addr.IsUnspecified() {
		host = "localhost"
	}
	return scheme + "://" + net.JoinHostPort(host, port), nil
}
