package main

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// TestHealthcheck asks a server by each of its listeners, and one whose
// database is gone.
func TestHealthcheck(t *testing.T) {
	check := func(t *testing.T, want int, args ...string) (said string) {
		t.Helper()
		var out, log strings.Builder
		if code := run(t.Context(), append([]string{"healthcheck"}, args...), nil, strings.NewReader(""), &out, &log); code != want {
			t.Errorf("sealpost healthcheck %v: %d, want %d: %s", args, code, want, log.String())
		}
		return log.String()
	}
	serving := func(t *testing.T, s Settings) (in *instance, port func(i int) string) {
		t.Helper()
		in, _ = buildInstance(t, s, time.Now, nil)
		for i, server := range in.servers {
			go func() { _ = serve(server, in.listeners[i]) }() // ends with the listener
		}
		t.Cleanup(func() { in.close() })
		return in, func(i int) string {
			_, port, err := net.SplitHostPort(in.listeners[i].Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			return port
		}
	}

	t.Run("admin listener, database gone", func(t *testing.T) {
		in, port := serving(t, settingsOf(t, "sqlite"))
		check(t, exitOK, "--set", "admin_listen=127.0.0.1:"+port(1))
		check(t, exitOK, "--ready", "--set", "admin_listen=127.0.0.1:"+port(1))
		if err := in.store.Close(); err != nil {
			t.Fatal(err)
		}
		check(t, exitOK, "--set", "admin_listen=127.0.0.1:"+port(1))
		if said := check(t, exitFailed, "--ready", "--set", "admin_listen=127.0.0.1:"+port(1)); !strings.HasSuffix(said, "/readyz: 503 Service Unavailable: database unreachable\n") {
			t.Errorf("it says %q", said)
		}
	})
	t.Run("public listener", func(t *testing.T) {
		s := settingsOf(t, "sqlite")
		s.AdminListen = "off"
		_, port := serving(t, s)
		check(t, exitOK, "--set", "admin_listen=off", "--set", "listen=127.0.0.1:"+port(0))
		check(t, exitOK, "--set", "admin_listen=off", "--set", "listen=:"+port(0))
	})
	t.Run("TLS", func(t *testing.T) {
		s := settingsOf(t, "sqlite")
		s.AdminListen = "off"
		dir := t.TempDir()
		s.TLS = TLS{CertFile: dir + "/cert.pem", KeyFile: dir + "/key.pem"}
		certificate, key, err := newCertificate("login.example.com")
		if err != nil {
			t.Fatal(err)
		}
		for file, content := range map[string][]byte{s.TLS.CertFile: certificate, s.TLS.KeyFile: key} {
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, port := serving(t, s)
		check(t, exitOK, "--set", "admin_listen=off", "--set", "listen=127.0.0.1:"+port(0),
			"--set", "tls.cert_file="+s.TLS.CertFile, "--set", "tls.key_file="+s.TLS.KeyFile)
		check(t, exitFailed, "--set", "admin_listen=off", "--set", "listen=127.0.0.1:"+port(0)) // it speaks TLS
	})
	t.Run("nobody is there", func(t *testing.T) {
		check(t, exitFailed, "--set", "admin_listen=127.0.0.1:1")
	})
}
