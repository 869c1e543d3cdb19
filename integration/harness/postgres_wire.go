package harness

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
)

// Wire is the network between clients and PostgreSQL, without TLS: it can be down, and it can break right after the server
// has committed, before the client hears of it. Its methods may be called from any goroutine.
type Wire struct {
	Address string

	t        testing.TB
	target   string
	listener net.Listener
	wait     sync.WaitGroup

	mu      sync.Mutex
	down    bool
	cut     func(commits int) bool
	commits int // of transactions that inserted
	cuts    int
	open    map[net.Conn]bool
}

// NewWire leads to target until the end of the test.
func NewWire(t testing.TB, target string) *Wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("the wire to PostgreSQL: %v", err)
	}
	w := &Wire{Address: listener.Addr().String(), t: t, target: target, listener: listener, open: make(map[net.Conn]bool)}
	w.wait.Go(w.accept) // ends when the listener is closed
	t.Cleanup(func() {
		_ = listener.Close()
		w.SetDown(true)
		w.wait.Wait()
	})
	return w
}

// Cut says after which commits of an insert the answer is lost, and the connection with it. Nil loses none.
func (w *Wire) Cut(when func(commits int) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = when
}

// Cuts is how many answers were lost.
func (w *Wire) Cuts() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cuts
}

// SetDown breaks all connections and lets none come about, until it is called with false.
func (w *Wire) SetDown(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
	for c := range w.open {
		_ = c.Close()
	}
	clear(w.open)
}

func (w *Wire) accept() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", w.target)
		if err != nil || !w.add(client, server) {
			_ = client.Close()
			if err == nil {
				_ = server.Close()
			}
			continue
		}
		end := func() {
			_ = client.Close()
			_ = server.Close()
		}
		w.wait.Go(func() { defer end(); _, _ = io.Copy(server, client) }) // both end when either side is closed
		w.wait.Go(func() { defer end(); w.answers(client, server) })
	}
}

func (w *Wire) add(connections ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return false
	}
	for _, c := range connections {
		w.open[c] = true
	}
	return true
}

// answers passes the server's messages on, one by one: a letter, a length, and the rest.
func (w *Wire) answers(client, server net.Conn) {
	in, out := bufio.NewReaderSize(server, 1<<16), bufio.NewWriterSize(client, 1<<16)
	inserted := false
	for {
		head, err := in.Peek(5)
		if err != nil {
			return
		}
		message := make([]byte, 1+binary.BigEndian.Uint32(head[1:]))
		if _, err := io.ReadFull(in, message); err != nil {
			return
		}
		const commandComplete = 'C'
		switch tag := message[5:]; {
		case message[0] != commandComplete:
		case bytes.HasPrefix(tag, []byte("INSERT ")):
			inserted = true
		case bytes.HasPrefix(tag, []byte("COMMIT")):
			if inserted && w.lose() {
				return
			}
			inserted = false
		}
		if _, err := out.Write(message); err != nil {
			return
		}
		if in.Buffered() == 0 && out.Flush() != nil {
			return
		}
	}
}

func (w *Wire) lose() bool {
	w.mu.Lock()
	w.commits++
	cut, commits := w.cut, w.commits
	w.mu.Unlock()
	if cut == nil || !cut(commits) { // which may call Cut
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cuts++
	return true
}
