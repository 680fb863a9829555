package provider

import (
	"crypto/x509"
	"net/http/httptest"
)

// poolOf trusts a test server's certificate.
func poolOf(s *httptest.Server) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return pool
}
