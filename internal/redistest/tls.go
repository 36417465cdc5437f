//go:build unix

package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// StartTLS is Start for a server that speaks nothing but TLS. config is what a client needs: it trusts the server's certificate, and no other.
func StartTLS(settings ...string) (s *Server, config *tls.Config, err error) {
	cert, key, err := certificate()
	if err != nil {
		return nil, nil, err
	}
	s, err = start(false, func(s *Server) ([]string, error) {
		s.cert = filepath.Join(s.dir, "cert.pem")
		keyFile := filepath.Join(s.dir, "key.pem")
		if err := errors.Join(os.WriteFile(s.cert, cert, 0o600), os.WriteFile(keyFile, key, 0o600)); err != nil {
			return nil, err
		}
		return append([]string{
			"port 0", fmt.Sprint("tls-port ", s.port), "tls-cert-file " + s.cert, "tls-key-file " + keyFile, "tls-ca-cert-file " + s.cert, "tls-auth-clients no",
		}, settings...), nil
	})
	config = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	config.RootCAs.AppendCertsFromPEM(cert)
	return s, config, err
}

// certificate makes one for 127.0.0.1 that signs itself, and its key.
func certificate() (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &private.PublicKey, private)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}
