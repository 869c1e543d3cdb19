package abuse

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

// wire is an HTTP/2 connection of which every byte is the test's own.
type wire struct {
	t testing.TB
	net.Conn
	*http2.Framer
	encoded  bytes.Buffer
	encoder  *hpack.Encoder
	heard    chan struct{} // closed when the connection is over, after last was set
	answered chan struct{} // gets a ping's answer, or is closed with heard
	last     verdict
}

// verdict is how a connection ended.
type verdict struct {
	away    *http2.GoAwayFrame
	debug   string
	streams int // that the server has ended
}

// dialWire opens a connection, greets, and listens in the background until it is over.
func dialWire(t testing.TB, address string) *wire {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{t: t, Conn: conn, Framer: http2.NewFramer(conn, conn), heard: make(chan struct{}), answered: make(chan struct{}, 1)}
	w.AllowIllegalWrites = true
	w.encoder = hpack.NewEncoder(&w.encoded)
	t.Cleanup(func() { _ = conn.Close(); <-w.heard })
	_ = conn.SetDeadline(time.Now().Add(harness.Patience))
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	w.try(w.WriteSettings())
	go func() { // ends with the connection, which the cleanup closes and waits for
		defer close(w.heard)
		defer close(w.answered)
		v := &w.last
		reader := http2.NewFramer(io.Discard, conn)
		for {
			frame, err := reader.ReadFrame()
			if err != nil {
				return
			}
			if ping, ok := frame.(*http2.PingFrame); ok && ping.IsAck() {
				select {
				case w.answered <- struct{}{}:
				default:
				}
			}
			if away, ok := frame.(*http2.GoAwayFrame); ok {
				v.away, v.debug = away, string(away.DebugData())
			}
			if frame.Header().Flags.Has(http2.FlagHeadersEndStream) && frame.Header().Type == http2.FrameHeaders || frame.Header().Type == http2.FrameRSTStream {
				v.streams++
			}
		}
	}()
	return w
}

// try lets go of a connection that the server has closed: that is its right.
func (w *wire) try(err error) bool {
	if err != nil && errors.Is(err, io.ErrShortWrite) {
		w.t.Fatal(err)
	}
	return err == nil
}

// block encodes the headers of a call, and more.
func (w *wire) block(method string, more ...string) []byte {
	w.encoded.Reset()
	all := append([]string{
		":method", "POST", ":scheme", "http", ":path", "/engram.v1.EngramService/" + method, ":authority", "localhost",
		"content-type", "application/grpc", "te", "trailers",
	}, more...)
	for i := 0; i < len(all); i += 2 {
		_ = w.encoder.WriteField(hpack.HeaderField{Name: all[i], Value: all[i+1]}) // into a buffer
	}
	return bytes.Clone(w.encoded.Bytes())
}

// open begins a call on a stream.
func (w *wire) open(stream uint32, method string, more ...string) bool {
	return w.try(w.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: w.block(method, more...), EndHeaders: true}))
}

// message is a gRPC message as it goes over the wire, with a flag and a length that need not be right.
func message(flag byte, length int, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{flag}, uint32(length)), body...)
}

// over waits until the server has closed the connection.
func (w *wire) over() verdict {
	w.t.Helper()
	select {
	case <-w.heard:
		return w.last
	case <-time.After(harness.Patience):
		w.t.Fatal("the connection was not closed")
		return verdict{}
	}
}
