//go:build integration

package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// front starts a proxy that speaks TLS in front of a server that doesn't, and
// gives its port. Of what passes, wire remembers the secrets, if there is one.
func front(t testing.TB, to string, w *wire) string {
	t.Helper()
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: to})
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		ErrorLog: log.New(io.Discard, "", 0), // of a server that is not there yet
	}
	if w != nil {
		proxy.Transport = w
	}
	s := httptest.NewUnstartedServer(proxy)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{authority(t).certificate}}
	s.EnableHTTP2 = true
	s.Config.ErrorLog = proxy.ErrorLog
	s.StartTLS()
	t.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// private is an authority that nobody knows who was not told, and a certificate
// of its for this machine.
type private struct {
	certificate tls.Certificate
	pool        *x509.CertPool
	dir         string // of the files

	root *x509.Certificate
	key  *ecdsa.PrivateKey
}

// file is the name of authority.pem, certificate.pem or key.pem.
func (p private) file(name string) string { return filepath.Join(p.dir, name) }

// trusted is the setting of a client that knows the authority.
func (p private) trusted() *tls.Config { return &tls.Config{RootCAs: p.pool} }

func authority(t testing.TB) private {
	t.Helper()
	p, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var newAuthority = sync.OnceValues(func() (private, error) {
	p := private{pool: x509.NewCertPool(), dir: scratch}
	from, to := validity()
	p.root = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Authority"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	var err error
	if p.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return p, err
	}
	der, err := x509.CreateCertificate(rand.Reader, p.root, p.root, p.key.Public(), p.key)
	if err != nil {
		return p, err
	}
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	p.pool.AppendCertsFromPEM(authority)
	certificate, key, err := p.issue("localhost", "127.0.0.1")
	if err != nil {
		return p, err
	}
	if err := errors.Join(
		os.WriteFile(p.file("authority.pem"), authority, 0o644),
		os.WriteFile(p.file("certificate.pem"), certificate, 0o644),
		os.WriteFile(p.file("key.pem"), key, 0o600),
	); err != nil {
		return p, err
	}
	p.certificate, err = tls.X509KeyPair(certificate, key)
	return p, err
})

// validity is from when until when a certificate is good, about as long as
// those of Let's Encrypt.
func validity() (from, to time.Time) {
	now := time.Now()
	return now.Add(-time.Hour), now.Add(90 * 24 * time.Hour)
}

// issue makes a certificate for names and addresses, and its key.
func (p private) issue(names ...string) (certificate, key []byte, err error) {
	from, to := validity()
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: names[0]}, NotBefore: from, NotAfter: to,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, name)
		}
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, p.root, private.Public(), p.key)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), nil
}
