package postgres

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

func TestValidate(t *testing.T) {
	for given, says := range map[string]string{
		"postgres://me@db:5432/engram?sslmode=verify-full": "",
		"postgresql://db/engram":                           "",
		"postgres://me:s%23cret@one:1,two:2/engram":        "",
		"engram://db":                                                 "store: expected postgres://user@host:port/database",
		"postgres://me:s#cr%et@db/engram":                             "in a password, % is written %25",
		"postgres://me:s3cr3t@db:port/engram":                         "in a password, % is written %25",
		"postgres://me:s3cr3t@db/engram?sslmode=perhaps":              "store: postgres://db:5432/engram: ",
		"postgres://me@db/e?sslmode=verify-full&sslrootcert=/no/such": "no such file",
		"postgres://me@db/e?pool_max_conns=none":                      "store: postgres://db:5432/e: ",
	} {
		c := Config{URL: given}
		err := c.Validate()
		if (err != nil) != (says != "") || !strings.Contains(fmt.Sprint(err), says) {
			t.Errorf("%s: %v, expected %q", given, err, says)
		}
		for _, secret := range []string{"s3cr3t", "s#cr", "s%23"} {
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("the error shows the password: %v", err)
			}
		}
	}
	for says, c := range map[string]Config{
		"postgres-index: expected none or hnsw, got \"btree\"": {Index: "btree"},
		"postgres-ef-search: expected 1 to 1000":               {Search: 1001},
	} {
		c.URL = "postgres://db/e"
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, expected %q", err, says)
		}
	}
}

func TestAddress(t *testing.T) {
	for given, want := range map[string]string{
		"postgres://me:hush@db/engram?password=hush": "db:5432/engram",
		"postgres://me:hush@[::1]:6000/engram":       "[::1]:6000/engram",
		"postgres://me:hush@one:1,two:2/engram":      "one:1,two:2/engram",
		"postgres://me:hu%sh@db/engram":              "(unreadable)",
	} {
		if got := Address(given); got != want {
			t.Errorf("%s is shown as %s, expected %s", given, got, want)
		}
	}
}

// TestServerIsAway opens at once, refuses nothing for good, and goes on when the server is there.
func TestServerIsAway(t *testing.T) {
	d := newDatabase(t, "")
	target := d.target()
	_ = target.Store.Close()
	mend := target.Break(t)
	s := d.open(func(c *Config) { c.URL = d.through(d.wire.Address) })
	if err := s.Check(t.Context()); store.ClassOf(err) != store.ClassUnavailable {
		t.Errorf("%v, expected unavailable", err)
	}
	if err := errors.Join(s.Put(t.Context(), episodes(0, 1, 2))...); store.ClassOf(err) != store.ClassUnavailable {
		t.Errorf("%v, expected unavailable", err)
	}
	mend()
	mustPut(t, s, episodes(0, 1, 2)...)
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	_ = s.Close()
	_ = s.Close()
	if err := errors.Join(s.Put(t.Context(), episodes(0, 3, 1))...); !errors.Is(err, errClosed) || store.ClassOf(err) != store.ClassUnavailable {
		t.Errorf("after Close: %v, expected %v", err, errClosed)
	}
	if _, err := s.Recall(t.Context(), store.Query{Space: "garden", K: 1}); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v, expected %v", err, errClosed)
	}
}

func TestNoSuchDatabase(t *testing.T) {
	d := newDatabase(t, "")
	s := d.open(func(c *Config) { c.URL = strings.Replace(c.URL, d.name, "nowhere", 1) })
	if err := errors.Join(s.Put(t.Context(), episodes(0, 1, 1))...); store.ClassOf(err) != store.ClassDenied || !strings.Contains(err.Error(), "3D000") {
		t.Errorf("%v (%v), expected denied", err, store.ClassOf(err))
	}
}

// TestTLS asks a server that speaks it, with the certificate that signed its own, with another, and in the clear where it
// does not take that.
func TestTLS(t *testing.T) {
	p := harness.NewPostgres(t, "fsync=off")
	ours, other := authority(t), authority(t)
	ours.sign(t, p.Dir)
	admin := connect(t, p.URL("postgres"))
	do(t, admin, "ALTER SYSTEM SET ssl TO on")
	_ = admin.Close(t.Context())
	if err := os.WriteFile(filepath.Join(p.Dir, "pg_hba.conf"), []byte("hostssl all all 127.0.0.1/32 trust\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.Stop(t, "fast")
	p.Start(t)
	for options, class := range map[string]store.Class{
		"sslmode=require": store.ClassNone,
		"sslmode=verify-full&sslrootcert=" + ours.file:  store.ClassNone,
		"sslmode=verify-full&sslrootcert=" + other.file: store.ClassUnavailable,
		"sslmode=disable": store.ClassDenied, // pg_hba.conf has no line for it
	} {
		t.Run(options[:min(len(options), 20)], func(t *testing.T) {
			url, _, _ := strings.Cut(p.URL("postgres"), "?")
			s, err := Open(Config{URL: url + "?" + options, Patience: patience})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			if err := s.Check(t.Context()); store.ClassOf(err) != class {
				t.Errorf("%v (%v), expected %v", err, store.ClassOf(err), class)
			}
		})
	}
}

// signer is a certificate authority with its certificate in a file.
type signer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func authority(t *testing.T) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := signer{key: key, file: filepath.Join(t.TempDir(), "ca.pem"), cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}}
	der, err := x509.CreateCertificate(rand.Reader, s.cert, s.cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, s.file, "CERTIFICATE", der)
	return s
}

// sign puts the server's certificate and its key where PostgreSQL looks for them.
func (s signer) sign(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, s.cert, key.Public(), s.key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(dir, "server.crt"), "CERTIFICATE", der)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(dir, "server.key"), "PRIVATE KEY", private)
}

// writePEM writes a file for whoever owns its folder: PostgreSQL takes a key from nobody else.
func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	const nobody = 65534 // whom .ci/postgres runs it as
	if strings.HasPrefix(filepath.Base(path), "server.") {
		if err := os.Chown(path, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
}
