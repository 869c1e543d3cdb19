package engram

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
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

// authority signs certificates and leaves them in files.
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
	a.cert, a.key = nil, nil
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true}
	a.cert, a.key, a.file, _ = a.sign("ca", template)
	return a
}

// sign makes a certificate, signed by a or, for the first, by itself.
func (a *authority) sign(name string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey, string, string) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.NotAfter = time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	certFile, keyFile := filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return cert, key, certFile, keyFile
}

// issue makes a certificate for a name; 127.0.0.1 is one.
func (a *authority) issue(name string) (certFile, keyFile string) {
	a.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	_, _, certFile, keyFile = a.sign(name, template)
	return certFile, keyFile
}

// real makes f listen on loopback as well, and returns where.
func (f *fake) real(t *testing.T, options ...grpc.ServerOption) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(append(options, grpc.ForceServerCodecV2(codec{}), grpc.UnknownServiceHandler(f.serve), grpc.WaitForHandlers(true))...)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener) // ends with Stop
	}()
	t.Cleanup(func() { server.Stop(); <-ended })
	return listener.Addr().String()
}

// attempt does all that a store does with its server, and returns the first error.
func attempt(t *testing.T, c Config) error {
	t.Helper()
	s, err := Open(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	if errs := s.Put(ctx, records(t, 1, 1, 2)); errs[0] != nil || errs[1] != nil {
		return errors.Join(errs...)
	}
	if _, err := s.Recall(ctx, store.Query{Space: "work", Vector: make([]float32, store.Dimensions), K: 1}); err != nil {
		return err
	}
	call, err := s.Pass(ctx, engramv1.EngramService_Introspect_FullMethodName)
	if err != nil {
		return err
	}
	if err := call.SendMsg(new([]byte)); err != nil {
		return err
	}
	return call.RecvMsg(new([]byte))
}

func TestTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	serve := func(name string, clientCA *authority) string {
		certFile, keyFile := ours.issue(name)
		certificate, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			t.Fatal(err)
		}
		config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
		if clientCA != nil {
			config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
			config.ClientCAs.AddCert(clientCA.cert)
		}
		f := newFake(t)
		f.answers["Recall"] = &engramv1.RecallResponse{}
		return f.real(t, grpc.Creds(credentials.NewTLS(config)))
	}
	byAddress, byName, mutual := serve("127.0.0.1", nil), serve("store.lan", nil), serve("127.0.0.1", ours)
	certFile, keyFile := ours.issue("sidecar")
	strangerCert, strangerKey := theirs.issue("stranger")
	for _, row := range []struct {
		name   string
		config Config
		says   string // empty: it works
	}{
		{"trusted", Config{Address: byAddress, TLS: true, CAFile: ours.file}, ""},
		{"several", Config{Address: byAddress + "," + byAddress, TLS: true, CAFile: ours.file}, ""},
		{"by another name", Config{Address: byName, TLS: true, CAFile: ours.file, ServerName: "store.lan"}, ""},
		{"for another name", Config{Address: byName, TLS: true, CAFile: ours.file}, "cannot validate certificate for 127.0.0.1"},
		{"signed by another", Config{Address: byAddress, TLS: true, CAFile: theirs.file}, "certificate signed by unknown authority"},
		{"not signed by one the system knows", Config{Address: byAddress, TLS: true}, "certificate signed by unknown authority"},
		{"without TLS", Config{Address: byAddress}, ""},
		// What the server says to these two may be lost: it closes the connection while the first words are on their way.
		{"who are you?", Config{Address: mutual, TLS: true, CAFile: ours.file}, "engram at"},
		{"it is me", Config{Address: mutual, TLS: true, CAFile: ours.file, CertFile: certFile, KeyFile: keyFile}, ""},
		{"a stranger", Config{Address: mutual, TLS: true, CAFile: ours.file, CertFile: strangerCert, KeyFile: strangerKey}, "engram at"},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := attempt(t, row.config)
			if row.name == "without TLS" {
				if store.ClassOf(err) != store.ClassUnavailable {
					t.Errorf("%v, want unavailable", err)
				}
				return
			}
			if row.says == "" && err != nil || row.says != "" && (err == nil || !strings.Contains(err.Error(), row.says)) {
				t.Errorf("%v, want it to say %q", err, row.says)
			}
			if err != nil && store.ClassOf(err) != store.ClassUnavailable {
				t.Errorf("class %v, want unavailable: %v", store.ClassOf(err), err)
			}
		})
	}
}

func TestTokenGoesWithEachCallAndIsReadAnew(t *testing.T) {
	f := newFake(t)
	f.answers["Recall"] = &engramv1.RecallResponse{}
	var want string
	address := f.real(t, grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		md, _ := metadata.FromIncomingContext(stream.Context())
		if got := md.Get("authorization"); len(got) != 1 || got[0] != want {
			return status.Errorf(codes.Unauthenticated, "shown %q", got)
		}
		return next(srv, stream)
	}))
	file := filepath.Join(t.TempDir(), "token")
	put := func(token string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("first")
	want = "Bearer first"
	if err := attempt(t, Config{Address: address, TokenFile: file}); err != nil {
		t.Error(err)
	}
	s, err := Open(Config{Address: address, TokenFile: file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	query := store.Query{Space: "work", Vector: make([]float32, store.Dimensions), K: 1}
	recall := func(class store.Class, says string) {
		t.Helper()
		_, err := s.Recall(t.Context(), query)
		if store.ClassOf(err) != class || says != "" && !strings.Contains(err.Error(), says) {
			t.Errorf("%v: %v, want %v that says %q", store.ClassOf(err), err, class, says)
		}
	}
	recall(store.ClassNone, "")
	put("second")
	recall(store.ClassDenied, `shown ["Bearer second"]`)
	want = "Bearer second"
	recall(store.ClassNone, "")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	recall(store.ClassDenied, "store-token-file: open "+file)
	put("second")
	recall(store.ClassNone, "")
}

func TestSeveralServersShareTheCalls(t *testing.T) {
	var fakes []*fake
	var addresses []string
	stop := make([]func(), 3)
	for i := range stop {
		f := newFake(t)
		f.answers["Recall"] = &engramv1.RecallResponse{}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer(grpc.ForceServerCodecV2(codec{}), grpc.UnknownServiceHandler(f.serve), grpc.WaitForHandlers(true))
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = server.Serve(listener) // ends with Stop
		}()
		stop[i] = func() { server.Stop(); <-ended }
		t.Cleanup(stop[i])
		fakes, addresses = append(fakes, f), append(addresses, listener.Addr().String())
	}
	s, err := Open(Config{Address: strings.Join(addresses, ",")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	query := store.Query{Space: "work", Vector: make([]float32, store.Dimensions), K: 1}
	asked := func(i int) int {
		fakes[i].mu.Lock()
		defer fakes[i].mu.Unlock()
		return len(fakes[i].calls)
	}
	for asked(0) == 0 || asked(1) == 0 || asked(2) == 0 {
		if _, err := s.Recall(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	if errs := s.Put(t.Context(), records(t, 1, 1, 5)); errors.Join(errs...) != nil {
		t.Error(errs)
	}
	stop[0]()
	stop[1]()
	last := asked(2)
	for n := 0; asked(2) < last+20; n++ { // a call that was under way to one of them may break
		if _, err := s.Recall(t.Context(), query); err != nil && store.ClassOf(err) != store.ClassUnavailable {
			t.Fatal(err)
		}
	}
	if _, err := s.Recall(t.Context(), query); err != nil {
		t.Errorf("with one server left: %v", err)
	}
	for errors.Join(s.Put(t.Context(), records(t, 1, 6, 9))...) != nil { // the stream may have been to one of them
		if t.Context().Err() != nil {
			t.Fatal("not delivered")
		}
	}
}

// TestReconnectsAtLeastEveryFiveSeconds counts the seconds of a clock that only the pauses between the attempts move.
func TestReconnectsAtLeastEveryFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts []time.Time
		dial := func(context.Context, string) (net.Conn, error) {
			attempts = append(attempts, time.Now())
			return nil, errors.New("connection refused")
		}
		s, err := Open(Config{Address: "engram.test:50051"}, nil, grpc.WithContextDialer(dial), grpc.WithResolvers(passthrough{}))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		if errs := s.Put(t.Context(), records(t, 1, 1, 1)); store.ClassOf(errs[0]) != store.ClassUnavailable {
			t.Error(errs)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if len(attempts) < 60 || len(attempts) > 200 {
			t.Errorf("%d attempts in 5 minutes, want one every few seconds", len(attempts))
		}
		for i := 1; i < len(attempts); i++ {
			if pause := attempts[i].Sub(attempts[i-1]); pause > maxBackoff {
				t.Errorf("a pause of %v before attempt %d, want at most %v", pause, i, maxBackoff)
			}
		}
	})
}
