package deploy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestNginx(t *testing.T) {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		nginx, err = exec.LookPath("/usr/sbin/nginx") // sbin may not be in PATH
	}
	if err != nil {
		t.Fatalf("nginx is missing (%v); run: make test-integration, or apt-get install nginx-light", err)
	}
	dir := t.TempDir()
	selfSigned(t, dir)
	certificates := regexp.MustCompile(`/etc/letsencrypt/live/[^/]+/`)
	var sites strings.Builder
	for _, name := range []string{"nginx/sealpost.conf", "nginx/app.conf"} {
		sites.WriteString(certificates.ReplaceAllString(read(t, name), dir+"/"))
	}
	main := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(main, []byte("error_log stderr; pid "+dir+"/pid; events {}\nhttp {\n"+sites.String()+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(nginx, "-t", "-c", main).CombinedOutput(); err != nil || strings.Contains(string(out), "[warn]") {
		t.Errorf("nginx -t: %v\n%s", err, out)
	}
	for _, replica := range []string{"127.0.0.1:8081", "127.0.0.1:8082"} { // deploy/systemd/replica.conf
		if !strings.Contains(read(t, "nginx/sealpost.conf"), "server "+replica+" ") {
			t.Errorf("nginx does not ask %s", replica)
		}
	}
}

func selfSigned(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"fullchain.pem": {Type: "CERTIFICATE", Bytes: certificate}, "privkey.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCaddy(t *testing.T) {
	caddy, err := filepath.Abs("../../bin/caddy")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(caddy); err != nil {
		t.Fatal("caddy is missing; run: make bin/caddy")
	}
	file := filepath.Join(folder, "caddy/Caddyfile")
	for _, environ := range [][]string{nil, {"SEALPOST_HOST=login.example.com", "SEALPOST_UPSTREAM=sealpost:8080"}} { // compose.yaml has the second
		validate := exec.Command(caddy, "validate", "--adapter", "caddyfile", "--config", file)
		validate.Env = append(os.Environ(), "XDG_DATA_HOME="+t.TempDir(), "XDG_CONFIG_HOME="+t.TempDir())
		validate.Env = append(validate.Env, environ...)
		if out, err := validate.CombinedOutput(); err != nil || !strings.Contains(string(out), "Valid configuration") {
			t.Errorf("caddy validate: %v\n%s", err, out)
		}
	}
	format := exec.Command(caddy, "fmt", "--diff", file)
	if out, err := format.CombinedOutput(); err != nil {
		t.Errorf("caddy fmt: %v\n%s", err, out)
	}
	if !strings.Contains(read(t, "caddy/Caddyfile"), "127.0.0.1:8081 127.0.0.1:8082") { // deploy/systemd/replica.conf
		t.Error("Caddy does not ask both replicas")
	}
}
