package faults

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/engram-sidecar/engram-sidecar/integration/faults/faultfs"
	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

// hang holds calls up once it is told to, as a disk does that answers no more.
type hang struct {
	mu    sync.Mutex
	gate  chan struct{} // closed when the disk answers again; nil: it does
	began chan struct{} // cap 1: a call hangs
}

// rule holds the fsyncs of the journal up, and with them whatever else goes to that disk.
func (h *hang) rule(op faultfs.Op, path string) syscall.Errno {
	h.mu.Lock()
	gate := h.gate
	h.mu.Unlock()
	if gate == nil || !journalFsync(op, path) {
		return 0
	}
	select {
	case h.began <- struct{}{}:
	default:
	}
	<-gate
	return 0
}

// begin lets the next fsync hang, and waits until it does.
func (h *hang) begin(t *testing.T) {
	t.Helper()
	h.mu.Lock()
	h.gate = make(chan struct{})
	h.mu.Unlock()
	t.Cleanup(h.end) // the disk cannot be taken away while a call hangs
	select {
	case <-h.began:
	case <-time.After(harness.Patience):
		t.Fatal("no fsync of the journal came")
	}
}

func (h *hang) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gate != nil {
		close(h.gate)
		h.gate = nil
	}
}

// manager is the service manager's end of the notify socket.
type manager struct {
	t *testing.T
	*net.UnixConn
}

func newManager(t *testing.T, watchdog time.Duration) *manager {
	t.Helper()
	at := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: at, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // nobody is behind it any more
	t.Setenv("NOTIFY_SOCKET", at)
	t.Setenv("WATCHDOG_USEC", fmt.Sprint(watchdog.Microseconds()))
	return &manager{t, l}
}

// told waits until it is told something.
func (m *manager) told(want string) {
	m.t.Helper()
	for deadline := time.Now().Add(harness.Patience); ; {
		switch said, err := m.next(deadline); {
		case err != nil:
			m.t.Fatalf("%s was not told: %v", want, err)
		case strings.Contains(said, want):
			return
		}
	}
}

// count is how often it is told something until a deadline.
func (m *manager) count(what string, deadline time.Time) (n int) {
	m.t.Helper()
	for {
		said, err := m.next(deadline)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return n
		}
		if err != nil {
			m.t.Fatal(err)
		}
		if strings.Contains(said, what) {
			n++
		}
	}
}

func (m *manager) next(deadline time.Time) (string, error) {
	buffer := make([]byte, 4096)
	if err := m.SetReadDeadline(deadline); err != nil {
		return "", err
	}
	n, err := m.Read(buffer)
	return string(buffer[:n]), err
}

// TestFaultHungDiskStarvesTheWatchdog lets an fsync of the journal hang: the service manager hears nothing meanwhile, though the
// process runs and its admin address answers; when the disk answers again so does the feeding, and nothing is lost.
func TestFaultHungDiskStarvesTheWatchdog(t *testing.T) {
	const watchdog = 600 * time.Millisecond
	s := newStrict(t, large)
	m := newManager(t, watchdog)
	r := newRig(t, harness.Binary(t), s.dir(), 2)
	h := &hang{began: make(chan struct{}, 1)}
	s.fs.SetRule(h.rule)
	r.start()
	r.begin()
	m.told("READY=1")
	m.told("WATCHDOG=1")

	h.begin(t)
	// What was durable before may still be told, once; the manager would have given up long before the end of this.
	if n := m.count("WATCHDOG=1", time.Now().Add(8*watchdog)); n > 1 {
		t.Errorf("the watchdog was fed %d times while an fsync hung", n)
	}
	if state, err := r.sidecar.Status(); err != nil {
		t.Errorf("its admin address does not answer meanwhile: %+v, %v", state, err)
	}

	h.end()
	m.told("WATCHDOG=1")
	m.told("WATCHDOG=1")
	r.judge()
}
