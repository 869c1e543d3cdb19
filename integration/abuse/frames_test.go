package abuse

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

// TestBrokenFrames: each of these ends its call or its connection, and nothing else.
func TestBrokenFrames(t *testing.T) {
	s := besiege(t)
	body := bytes.Repeat([]byte{0xff}, 100)
	onStream := func(method string, data []byte, more ...string) func(*wire) {
		return func(w *wire) {
			w.open(1, method, more...)
			w.try(w.WriteData(1, true, data))
		}
	}
	rows := map[string]func(*wire){
		"a length beyond the end":          onStream("Remember", message(0, 5000, body)),
		"a length of 4 GiB":                onStream("Remember", message(0, -1, body)),
		"a length above the limit":         onStream("ObserveStream", message(0, 1<<20+1, body)),
		"half a prefix":                    onStream("Remember", []byte{0, 0, 0}),
		"compressed, without saying how":   onStream("Remember", message(1, len(body), body)),
		"compressed, by garbage":           onStream("Remember", message(1, len(body), body), "grpc-encoding", "gzip"),
		"compressed in a way nobody knows": onStream("Remember", message(1, len(body), body), "grpc-encoding", "snappy"),
		"a flag that is none":              onStream("ObserveStream", message(0x7e, len(body), body)),
		"garbage for a message":            onStream("RecallStream", message(0, len(body), body)),
		"two messages for a unary call":    onStream("Remember", append(message(0, 0, nil), message(0, 0, nil)...)),
		"no message at all":                onStream("Remember", nil),
		"a deadline that is none":          onStream("Remember", message(0, 0, nil), "grpc-timeout", "99999999999999999999H"),
		"a deadline of nothing":            onStream("Remember", message(0, 0, nil), "grpc-timeout", "0n"),
		"binary metadata that is none":     onStream("Remember", message(0, 0, nil), "x-bin", "!!!"),
		"a priority that is none":          onStream("ObserveStream", message(0, 4, []byte{0x12, 2, 0x10, 1}), "engram-priority", "\x01\x02"),
		"a method with escapes":            onStream("\x1b[2J\r\n", message(0, 0, nil)),
		"a method that never ends":         onStream(string(bytes.Repeat([]byte("x/"), 3000)), message(0, 0, nil)),
		"another content type":             func(w *wire) { w.open(1, "Remember", "content-type", "text/html"); w.try(w.WriteData(1, true, nil)) },
		"data on no stream":                func(w *wire) { w.try(w.WriteData(0, true, body)) },
		"data on a stream nobody opened":   func(w *wire) { w.try(w.WriteData(99, true, body)) },
		"a stream of the server's":         func(w *wire) { w.open(2, "Remember") },
		"streams that go backwards":        func(w *wire) { w.open(9, "Remember"); w.open(3, "Remember") },
		"the same stream twice":            func(w *wire) { w.open(1, "ObserveStream"); w.open(1, "ObserveStream") },
		"a window of nothing":              func(w *wire) { w.try(w.WriteWindowUpdate(0, 0)) },
		"a window too large": func(w *wire) {
			w.open(1, "ObserveStream")
			w.try(w.WriteWindowUpdate(1, 1<<31-1))
			w.try(w.WriteWindowUpdate(1, 1<<31-1))
		},
		"a frame longer than agreed":     func(w *wire) { w.try(w.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, 1<<20))) },
		"headers that cannot be decoded": func(w *wire) { w.try(w.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, body)) },
		"a continuation of nothing":      func(w *wire) { w.try(w.WriteContinuation(1, true, body)) },
		"a push": func(w *wire) {
			w.try(w.WriteRawFrame(http2.FramePushPromise, 4, 1, append([]byte{0, 0, 0, 2}, body...)))
		},
		"a setting that is none":     func(w *wire) { w.try(w.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1})) },
		"settings of half a setting": func(w *wire) { w.try(w.WriteRawFrame(http2.FrameSettings, 0, 0, []byte{1, 2, 3})) },
		"frames of a kind nobody knows": func(w *wire) {
			for range 1000 {
				w.try(w.WriteRawFrame(0xee, 0xff, 7, body))
			}
		},
		"a reset of a stream that never was":   func(w *wire) { w.try(w.WriteRSTStream(77, http2.ErrCodeCancel)) },
		"a goodbye":                            func(w *wire) { w.try(w.WriteGoAway(0, http2.ErrCodeNo, body)) },
		"priorities that depend on each other": func(w *wire) { w.try(w.WritePriority(3, http2.PriorityParam{StreamDep: 3})) },
	}
	s.stand(32*mib, func() {
		for name, do := range rows {
			t.Run(name, func(t *testing.T) {
				for range nightly(200, 10) {
					w := dialWire(t, s.Listen)
					do(w)
					w.try(w.WritePing(false, [8]byte{9})) // answered, or the connection is over: either way it was dealt with
					_ = w.CloseWriteHalf()
					w.over()
				}
			})
		}
	})
}

// CloseWriteHalf says that no more comes.
func (w *wire) CloseWriteHalf() error {
	if tcp, ok := w.Conn.(*net.TCPConn); ok {
		return tcp.CloseWrite()
	}
	return nil
}

// TestNoise sends what is no HTTP/2, and HTTP/2 whose frames were shaken.
func TestNoise(t *testing.T) {
	s := besiege(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	s.stand(32*mib, func() {
		for n := range nightly(20_000, 1000) {
			conn, err := net.Dial("tcp", s.Listen)
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(harness.Patience))
			var noise bytes.Buffer
			if n%4 != 0 {
				noise.WriteString(http2.ClientPreface)
				_ = http2.NewFramer(&noise, nil).WriteSettings() // into a buffer
			}
			for range random.IntN(20) {
				head := make([]byte, 9+random.IntN(200))
				for i := range head {
					head[i] = byte(random.Uint32())
				}
				if n%2 == 0 { // of the length that it says, and of a kind that there is
					binary.BigEndian.PutUint32(head, uint32(len(head)-9)<<8|uint32(random.IntN(10)))
				}
				noise.Write(head)
			}
			_, _ = conn.Write(noise.Bytes()) // it may be refused half way
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.CloseWrite()
			}
			_, _ = io.Copy(io.Discard, conn) // until the server closes it
			_ = conn.Close()
		}
	})
}
