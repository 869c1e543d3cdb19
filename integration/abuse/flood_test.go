package abuse

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

// TestRapidResets opens streams and takes them back at once (CVE-2023-44487), on several connections. They are read no faster
// than each may cancel calls, and than a few may together.
func TestRapidResets(t *testing.T) {
	s := besiege(t)
	count := nightly(50_000, 10_000)
	s.stand(64*mib, func() { // 38 to 57 were measured: 1,024 calls of each connection, with three stacks each
		const connections = 8
		began := time.Now()
		var attackers sync.WaitGroup
		var reset, most atomic.Int64
		for range connections {
			w := dialWire(t, s.Listen)
			attackers.Go(func() {
				for id := uint32(1); id < uint32(2*count/connections); id += 2 {
					if !w.open(id, "ObserveStream") || !w.try(w.WriteRSTStream(id, http2.ErrCodeCancel)) {
						t.Errorf("a connection was closed after %d streams", id/2)
						return
					}
					if reset.Add(1)%2000 == 0 {
						most.Store(max(most.Load(), int64(s.metric("go_goroutines"))))
					}
				}
				w.try(w.WritePing(false, [8]byte{1})) // answered when all before it was read
				<-w.answered
			})
		}
		attackers.Wait()
		took := time.Since(began)
		t.Logf("%d streams reset over %d connections in %v, at most %v goroutines", reset.Load(), connections, took, most.Load())
		if most.Load() > 10_000 {
			t.Errorf("%v goroutines: what is reset is not bounded by the limit of 1024 streams", most.Load())
		}
		// The defaults: 2,000 a second, and one second of it at any speed; a connection is stopped only behind what was read. Where
		// the machine leaves the attacker less than that, nobody need be slowed.
		if allowed := 2000 * (took.Seconds() + 1); float64(count) > allowed && s.metric("engram_sidecar_connections_slowed_total") == 0 {
			t.Errorf("%d calls were cancelled within %v, and no connection was slowed beyond %.0f", count, took, allowed)
		}
		if most := 2000*(took.Seconds()+1) + connections*1024; float64(count) > most {
			t.Errorf("%d calls were cancelled within %v, expected at most %.0f", count, took, most)
		}
	})
	if cancelled := s.metric("engram_sidecar_calls_cancelled_total"); cancelled < float64(count)/2 {
		t.Errorf("%v calls counted as cancelled of at least %d", cancelled, count)
	}
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
