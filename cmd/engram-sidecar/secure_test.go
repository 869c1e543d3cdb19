package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	agentToken = "agent-token-0123456789ab"
	opsToken   = "ops-token-0123456789abcd"
)

// secretFile writes a file that only its owner may read.
func secretFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// authority signs certificates for a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // its own certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.file, _ = a.write("ca", template, nil)
	return a
}

// sign makes a certificate for a name on 127.0.0.1, and returns the files of it and its key.
func (a *authority) sign(name string) (cert, key string) {
	a.t.Helper()
	return a.write(name, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert)
}

func (a *authority) write(name string, template, parent *x509.Certificate) (cert, key string) {
	a.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	signer := a.key
	if parent == nil {
		parent, signer = template, private
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, private.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	if a.cert == nil {
		a.key = private
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			a.t.Fatal(err)
		}
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, key = filepath.Join(a.dir, name+".crt"), filepath.Join(a.dir, name+".key")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return cert, key
}

func TestTokensFromEndToEnd(t *testing.T) {
	tokens := secretFile(t, "tokens", "agent "+agentToken+" notes:rw\nops "+opsToken+" admin\n")
	agent, ops := secretFile(t, "agent", agentToken+"\n"), secretFile(t, "ops", opsToken)
	r := serveHere(t, t.TempDir(), "--token-file", tokens)
	line := "the kettle boils\n"
	call(line, "observe", "--addr", r.address).wants(t, 1, "", "wants a token")
	call(line, "observe", "--addr", r.address, "--token-file", ops, "--space", "notes").wants(t, 1, "", "PermissionDenied")
	call(line, "observe", "--addr", r.address, "--token-file", agent).wants(t, 1, "", `no right w in memory space "default"`)
	call(line, "observe", "--addr", r.address, "--token-file", agent, "--space", "notes").wants(t, 0, "acked 1", "")
	call("", "recall", "--addr", r.address, "kettle").wants(t, 1, "", "wants a token")
	call("", "recall", "--addr", r.address, "--token-file", agent, "--space", "notes", "kettle").wants(t, 0, "the kettle boils", "")
	call("", "recall", "--addr", r.address, "--token-file", agent, "--space", "other", "kettle").wants(t, 1, "", "PermissionDenied")
	call("", "status", "--admin", r.admin).wants(t, 1, "", "401")
	call("", "status", "--admin", r.admin, "--token-file", agent).wants(t, 1, "", "401")
	call("", "status", "--admin", r.admin, "--token-file", ops).wants(t, 0, "accepted 1", "")
	for _, path := range []string{"/livez", "/readyz"} {
		if resp, err := http.Get("http://" + r.admin + path); err != nil || resp.StatusCode != 200 {
			t.Errorf("%s: %v, %v", path, resp, err)
		} else {
			_ = resp.Body.Close()
		}
	}
	if said := r.said(); strings.Contains(said, agentToken) || strings.Contains(said, opsToken) || !strings.Contains(said, "a call was refused") {
		t.Errorf("the log: %s", said)
	}
}

func TestBadSecretsAreRefused(t *testing.T) {
	open := secretFile(t, "tokens", agentToken)
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	call("x\n", "observe", "--addr", "127.0.0.1:1", "--token-file", open).wants(t, 2, "", "--token-file: the file is open to others")
	call("x\n", "observe", "--addr", "127.0.0.1:1", "--token-file", "/nowhere").wants(t, 2, "", "no such file")
	call("", "recall", "--addr", "127.0.0.1:1", "--cert-file", open, "x").wants(t, 2, "", "--cert-file and --key-file: expected both")
	call("", "recall", "--addr", "127.0.0.1:1", "--ca-file", open, "x").wants(t, 2, "", "expected certificates in PEM")
	for _, args := range [][]string{
		{"--token-file", open},
		{"--admin-token-file", open},
		{"--token-file", "/nowhere"},
		{"--tls-cert", open, "--tls-key", secretFile(t, "key", "no key")},
	} {
		dir := filepath.Join(t.TempDir(), "data")
		o := call("", append([]string{"serve", "--data-dir", dir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}, args...)...)
		o.wants(t, exitConfig, "", "engram-sidecar: ")
		if _, err := os.Stat(dir); err == nil || strings.Contains(o.stderr, agentToken) {
			t.Errorf("%v: %q, data directory %v", args, o.stderr, err)
		}
	}
}

func TestMutualTLSFromEndToEnd(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.sign("sidecar")
	mine, mineKey := a.sign("app")
	stranger := newAuthority(t)
	other, otherKey := stranger.sign("app")
	r := serveHere(t, t.TempDir(), "--tls-cert", cert, "--tls-key", key, "--tls-client-ca", a.file, "--admin-tls", "--admin-token-file", secretFile(t, "t", opsToken))
	call("a\n", "observe", "--addr", r.address, "--ca-file", a.file, "--cert-file", mine, "--key-file", mineKey).wants(t, 0, "acked 1", "")
	call("a\n", "observe", "--addr", r.address, "--retry-for", "1ms").wants(t, 1, "", "sidecar")
	call("a\n", "observe", "--addr", r.address, "--ca-file", a.file, "--retry-for", "1ms").wants(t, 1, "", "sidecar")
	call("a\n", "observe", "--addr", r.address, "--ca-file", stranger.file, "--cert-file", mine, "--key-file", mineKey, "--retry-for", "1ms").wants(t, 1, "", "sidecar")
	call("a\n", "observe", "--addr", r.address, "--ca-file", a.file, "--cert-file", other, "--key-file", otherKey, "--retry-for", "1ms").wants(t, 1, "", "sidecar")
	token := secretFile(t, "t", opsToken)
	call("", "status", "--admin", "https://"+r.admin, "--ca-file", a.file, "--token-file", token).wants(t, 0, "accepted 1", "")
	call("", "status", "--admin", r.admin, "--ca-file", a.file).wants(t, 1, "", "401")
	call("", "status", "--admin", r.admin, "--ca-file", stranger.file, "--token-file", token).wants(t, 1, "", "certificate")
	call("", "status", "--admin", "http://"+r.admin, "--ca-file", a.file).wants(t, 2, "", "expected https://")
}

// shown asks a TLS server for its certificate.
func shown(t *testing.T, address string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func TestATokenNeverLeavesTheMachineInTheClear(t *testing.T) {
	token := secretFile(t, "token", opsToken)
	for _, args := range [][]string{
		{"observe", "--addr", "192.0.2.1:50051", "--retry-for", "1ms"},
		{"recall", "--addr", "192.0.2.1:50051", "words"},
		{"recall", "--addr", "[2001:db8::1]:50051", "words"},
		{"status", "--admin", "192.0.2.1:50052"},
		{"status", "--admin", "http://192.0.2.1:50052"},
	} {
		call("x\n", append(args, "--token-file", token)...).wants(t, 2, "", errInTheClear.Error())
	}
	// A name may stand for anything: what counts is where the connection leads.
	client, server := net.Pipe()
	defer server.Close()
	if _, err := local(elsewhere{client}, "localhost:1"); !errors.Is(err, errInTheClear) {
		t.Errorf("a connection to another machine was taken: %v", err)
	}
	if _, err := client.Write([]byte("x")); err == nil {
		t.Error("and it was left open")
	}
}

// elsewhere is a connection to another machine.
type elsewhere struct{ net.Conn }

func (elsewhere) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }

func TestATokenDoesNotShowWhenPrinted(t *testing.T) {
	b := bearer{token: opsToken}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(format, b); strings.Contains(text, opsToken) {
			t.Errorf("%s prints %s", format, text)
		}
	}
	if md, err := b.GetRequestMetadata(context.Background()); err != nil || md["authorization"] != "Bearer "+opsToken {
		t.Errorf("%v, %v", md, err)
	}
}

func TestProfilesAreServedOnRequestAlone(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
	}{{nil, 404}, {[]string{"--pprof"}, 200}} {
		r := serveHere(t, t.TempDir(), c.args...)
		for _, path := range []string{"/debug/pprof/", "/debug/pprof/goroutine?debug=1", "/debug/pprof/cmdline"} {
			resp, err := http.Get("http://" + r.admin + path)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != c.code {
				t.Errorf("%v: %s answered %d, want %d", c.args, path, resp.StatusCode, c.code)
			}
		}
		r.stop()
	}
}

func TestTheSocketIsItsUsersAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made", "s.sock")
	r := serveHere(t, t.TempDir(), "--listen", "unix://"+path)
	for name, want := range map[string]os.FileMode{filepath.Dir(path): 0o700, path: 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want mode %#o", name, info.Mode(), err, want)
		}
	}
	call("x\n", "observe", "--addr", r.address, "--token-file", secretFile(t, "t", opsToken)).wants(t, 0, "acked 1", "") // a token is no harm there
	r.stop()

	r = serveHere(t, t.TempDir(), "--listen", "unix://"+path, "--listen-users", fmt.Sprint(os.Geteuid()+1))
	call("x\n", "observe", "--addr", r.address, "--retry-for", "1ms").wants(t, 1, "", "sidecar")
	r.stop()
	if said := r.said(); !strings.Contains(said, "its user may not use the socket") {
		t.Errorf("the log does not tell of the refusal: %s", said)
	}

	open := t.TempDir()
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	call("", "serve", "--data-dir", t.TempDir(), "--admin-listen", "127.0.0.1:0", "--listen", "unix://"+open+"/s").
		wants(t, 1, "", "others may put a socket in our place")
}
