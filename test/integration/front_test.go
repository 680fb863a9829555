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

// private is a certificate for this machine, and the authority that signed it
// and that nobody knows who was not told.
type private struct {
	certificate tls.Certificate
	pool        *x509.CertPool
	dir         string // of the files
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
	from, to := time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Authority"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: from, NotAfter: to,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return p, err
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return p, err
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey)
	if err != nil {
		return p, err
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, leafKey.Public(), rootKey)
	if err != nil {
		return p, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		return p, err
	}
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER})
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leafDER})
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	if err := errors.Join(
		os.WriteFile(p.file("authority.pem"), authority, 0o644),
		os.WriteFile(p.file("certificate.pem"), certificate, 0o644),
		os.WriteFile(p.file("key.pem"), key, 0o600),
	); err != nil {
		return p, err
	}
	p.pool.AppendCertsFromPEM(authority)
	p.certificate = tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: leafKey}
	return p, nil
})
