package integration

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// TestTheStoreIsShownItsOwnToken: the one in the file, as it is at that moment, and never what a client shows the sidecar.
func TestTheStoreIsShownItsOwnToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	put := func(token string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("first\n")
	f := newForwarding(t, "--store-token-file", file)
	client := engramv1.NewEngramServiceClient(f.sidecar.Connect())
	ctx := metadata.AppendToOutgoingContext(bounded(t), "authorization", "Bearer for-the-sidecar")
	for n, want := range []string{"Bearer first", "Bearer second"} {
		if _, err := client.Forget(ctx, &engramv1.ForgetRequest{Target: &engramv1.ForgetRequest_MemoryId{MemoryId: "m"}}); err != nil {
			t.Fatal(err)
		}
		if got := f.store.Met()[n].Get("authorization"); !slices.Equal(got, []string{want}) {
			t.Errorf("the store was shown %q, expected %q", got, want)
		}
		put("second\n")
	}
	f.observe(10)
	f.delivered(10, 0)
}

// TestTwoStoresAreOne: with one of two servers gone the other takes all.
func TestTwoStoresAreOne(t *testing.T) {
	oracle := harness.NewOracle()
	one, other := harness.NewEngram(t, oracle), harness.NewEngram(t, oracle)
	f := &forwarding{t: t, oracle: oracle, store: one}
	f.sidecar = harness.NewSidecar(t, harness.Binary(t), "--store", "engram://"+one.Address+","+other.Address)
	f.sidecar.Start()
	f.observe(100)
	one.Stop()
	f.delivered(100, 0)
	other.Stop()
	one.Start()
	f.observeAs("after", 100)
	f.delivered(200, 0)
}

// connectProxy is an HTTP proxy that takes every CONNECT to one place.
type connectProxy struct {
	to string

	mu    sync.Mutex
	asked []string
}

func (p *connectProxy) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	reader := bufio.NewReader(conn)
	request, err := http.ReadRequest(reader)
	if err != nil {
		return
	}
	p.mu.Lock()
	p.asked = append(p.asked, request.Method+" "+request.Host)
	p.mu.Unlock()
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	if _, err := io.WriteString(conn, "HTTP/1.1 200 Connected\r\n\r\n"); err != nil {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(server, reader); _ = server.Close() }) // either end of it ends both
	both.Go(func() { _, _ = io.Copy(conn, server); _ = conn.Close() })
	both.Wait()
}

func (p *connectProxy) requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

// TestProxiesOfTheEnvironmentAreIgnored: unless one asks for them.
func TestProxiesOfTheEnvironmentAreIgnored(t *testing.T) {
	for name, flags := range map[string][]string{"ignored": nil, "asked for": {"--store-proxy"}} {
		t.Run(name, func(t *testing.T) {
			oracle := harness.NewOracle()
			f := &forwarding{t: t, oracle: oracle, store: harness.NewEngram(t, oracle)}
			proxy := &connectProxy{to: f.store.Address}
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var serving sync.WaitGroup
			serving.Go(func() {
				for {
					conn, err := listener.Accept()
					if err != nil {
						return // closed below
					}
					serving.Go(func() { proxy.serve(conn) })
				}
			})
			t.Cleanup(serving.Wait)
			t.Cleanup(func() { _ = listener.Close() })
			for _, variable := range []string{"HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy", "ALL_PROXY"} {
				t.Setenv(variable, "http://"+listener.Addr().String())
			}
			t.Setenv("NO_PROXY", "")
			t.Setenv("no_proxy", "")
			// 0.0.0.0 is this machine, and no loopback address, which are never reached through a proxy. Nobody listens at that
			// port: only the proxy leads from it to the store.
			_, port, _ := net.SplitHostPort(harness.FreeAddress(t))
			away := "0.0.0.0:" + port
			f.sidecar = harness.NewSidecar(t, harness.Binary(t), append([]string{"--store", "engram://" + away}, flags...)...)
			f.sidecar.Start()
			f.observe(20)
			if flags == nil {
				f.sidecar.Await("the store to be missed", func() (bool, error) {
					st, err := f.sidecar.Status()
					return err == nil && !st.Store.Up, err
				})
				if asked := proxy.requests(); len(asked) != 0 {
					t.Errorf("the proxy was asked for %q, expected nothing", asked)
				}
				return
			}
			f.delivered(20, 0)
			if asked := proxy.requests(); len(asked) == 0 || asked[0] != "CONNECT "+away {
				t.Errorf("the proxy was asked for %q, expected CONNECT %s", asked, away)
			}
			f.sidecar.Kill() // its connections hold the proxy's
		})
	}
}
