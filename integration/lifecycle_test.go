package integration

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

func TestAStopTellsStreamsToComeBack(t *testing.T) {
	s := harness.NewSidecar(t, harness.Binary(t))
	s.Start()
	k := newTalk(t, s.Connect())
	k.send(initOf(""))
	k.send(observe(1, harness.EpisodeOf(harness.Observation{Session: "stop", Sequence: 1})))
	for range 2 {
		if _, err := k.stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	if code := s.Stop(); code != exitOK {
		t.Errorf("it ended with %d", code)
	}
	if _, err := k.stream.Recv(); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "resume") {
		t.Errorf("the stream ended with %v", err)
	}
}

// TestAStopDuringARecovery lets the recovery hang on a file that nobody ever writes, which is as long as one can take.
func TestAStopDuringARecovery(t *testing.T) {
	s := harness.NewSidecar(t, harness.Binary(t))
	if err := os.Mkdir(s.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(s.Dir, "FORMAT"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Exec()
	s.Await("the recovery", func() (bool, error) {
		live, err := s.Get("/livez")
		if err != nil {
			return false, nil // not yet listening
		}
		ready, err := s.Get("/readyz")
		return err == nil && live.StatusCode == 200 && ready.StatusCode == 503 && strings.Contains(string(ready.Text), "recovering"), err
	})
	if code := s.Stop(); code != exitOK {
		t.Errorf("it ended with %d", code)
	}
	if !strings.Contains(s.Log.String(), "stopped while it was starting") {
		t.Error("it did not say why it ended")
	}
}

// TestASecondSignalEndsAtOnce asks twice, while a store that does not answer holds the clean stop up.
func TestASecondSignalEndsAtOnce(t *testing.T) {
	store := harness.NewEngram(t, nil)
	store.Set(harness.Faults{Delay: time.Hour})
	s := harness.NewSidecar(t, harness.Binary(t), "--store", "engram://"+store.Address)
	s.Start()
	k := newTalk(t, s.Connect())
	k.send(initOf(""))
	k.send(observe(1, harness.EpisodeOf(harness.Observation{Session: "twice", Sequence: 1})))
	for range 2 {
		if _, err := k.stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	pid := s.Pid()
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(harness.Patience); !strings.Contains(s.Log.String(), "stopping: acks owed"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the clean stop did not begin")
		}
	}
	if code := s.Stop(); code != -1 { // ended by the signal itself
		t.Errorf("it ended with %d", code)
	}
	store.Set(harness.Faults{})
	s.Start()
	if b := s.Drained(); b.Delivered != 1 {
		t.Errorf("after it: %+v", b)
	}
}

// TestTheServiceManagerIsTold listens as systemd does.
func TestTheServiceManagerIsTold(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", fmt.Sprint((300 * time.Millisecond).Microseconds()))
	s := harness.NewSidecar(t, harness.Binary(t))
	s.Exec()
	told := func(want string) {
		t.Helper()
		buffer := make([]byte, 4096)
		_ = l.SetReadDeadline(time.Now().Add(harness.Patience)) // a socket takes any
		for {
			n, err := l.Read(buffer)
			if err != nil {
				t.Fatalf("%s was not told: %v", want, err)
			}
			if strings.Contains(string(buffer[:n]), want) {
				return
			}
		}
	}
	told("READY=1")
	for range 3 {
		told("WATCHDOG=1")
	}
	if err := syscall.Kill(s.Pid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	told("RELOADING=1\nMONOTONIC_USEC=")
	told("READY=1")
	told("WATCHDOG=1")
	if err := syscall.Kill(s.Pid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	told("STOPPING=1")
	if code := s.ExitCode(); code != exitOK {
		t.Errorf("it ended with %d", code)
	}
	// What fed the watchdog went the way of an acknowledgement: it stands in the journal.
	o := runToEnd(t, harness.Command(t, s.Bin, "journal", "inspect", "--records", "--data-dir", s.Dir))
	if n := strings.Count(o.stdout, "probe"); n < 2 {
		t.Errorf("%d probes are in the journal:\n%s%s", n, o.stdout, o.stderr)
	}
	o = runToEnd(t, harness.Command(t, s.Bin, "journal", "verify", "--data-dir", s.Dir))
	if o.code != exitOK {
		t.Errorf("%+v", o)
	}
}
