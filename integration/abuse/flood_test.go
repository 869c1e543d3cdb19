package abuse

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

// TestRapidResets opens streams and takes them back at once (CVE-2023-44487).
func TestRapidResets(t *testing.T) {
	s := besiege(t)
	count := nightly(50_000, 10_000)
	s.stand(72*mib, func() {
		opened, connections := 0, 0
		most := 0.0
		for opened < count {
			w := dialWire(t, s.Listen)
			connections++
			for id := uint32(1); opened < count; id += 2 {
				if !w.open(id, "ObserveStream") || !w.try(w.WriteRSTStream(id, http2.ErrCodeCancel)) {
					break // the server has had enough of this connection
				}
				if opened++; opened%2000 == 0 {
					most = max(most, s.metric("go_goroutines"))
				}
			}
			_ = w.Close()
		}
		t.Logf("%d streams reset over %d connections, at most %v goroutines", opened, connections, most)
		if most > 10_000 {
			t.Errorf("%v goroutines: what is reset is not bounded by the limit of 1024 streams", most)
		}
	})
}

func TestPingFlood(t *testing.T) {
	s := besiege(t)
	s.stand(16*mib, func() {
		w := dialWire(t, s.Listen)
		for range nightly(100_000, 20_000) {
			if !w.try(w.WritePing(false, [8]byte{1})) {
				break
			}
		}
		if v := w.over(); v.away != nil && (v.away.ErrCode != http2.ErrCodeEnhanceYourCalm || v.debug != "too_many_pings") {
			t.Errorf("sent away with %v %q, expected ENHANCE_YOUR_CALM too_many_pings", v.away, v.debug)
		}
	})
}

// TestSettingsFlood never reads the acknowledgements that it is owed.
func TestSettingsFlood(t *testing.T) {
	s := besiege(t)
	s.stand(32*mib, func() {
		for range nightly(20, 4) {
			conn, err := net.Dial("tcp", s.Listen)
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(2 * time.Second)) // the server stops reading what it cannot answer
			framer := http2.NewFramer(conn, conn)
			_, err = io.WriteString(conn, http2.ClientPreface)
			sent := 0
			for ; err == nil && sent < 200_000; sent++ {
				err = framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 16})
			}
			_ = conn.Close()
		}
	})
}

// TestContinuationFlood sends headers that never end (CVE-2023-45288).
func TestContinuationFlood(t *testing.T) {
	s := besiege(t)
	s.stand(16*mib, func() {
		for range nightly(100, 10) {
			w := dialWire(t, s.Listen)
			var block bytes.Buffer
			encoder := hpack.NewEncoder(&block)
			for range 100 {
				_ = encoder.WriteField(hpack.HeaderField{Name: "x-filler", Value: strings.Repeat("x", 100), Sensitive: true}) // into a buffer
			}
			ok := w.try(w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: w.block("Remember")}))
			sent := 0
			for ; ok && sent < 20_000; sent++ {
				ok = w.try(w.WriteContinuation(1, false, block.Bytes()))
			}
			if sent == 20_000 {
				t.Errorf("%d MiB of headers were taken", sent*block.Len()/mib)
			}
			_ = w.Close()
		}
	})
}

// TestHalfOpen opens connections that say nothing, or half of the greeting: they are closed, and cost little until then.
func TestHalfOpen(t *testing.T) {
	s := besiege(t)
	s.stand(48*mib, func() {
		var waiting sync.WaitGroup
		for n := range nightly(1000, 200) {
			conn, err := net.Dial("tcp", s.Listen)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(conn, []string{"", "PRI", http2.ClientPreface, "GET / HTTP/1.1\r\n"}[n%4]) // it may be refused already
			waiting.Go(func() {
				defer func() { _ = conn.Close() }()
				_ = conn.SetReadDeadline(time.Now().Add(harness.Patience))
				if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
					t.Errorf("connection %d was not closed within %v", n, harness.Patience)
				}
			})
		}
		waiting.Wait()
	})
	s.Await("the connections' places", func() (bool, error) { return s.metric("go_goroutines") < 200, nil })
}
