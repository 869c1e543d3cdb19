package observe

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// endless gives the same line for ever, until it is closed; it counts what was taken.
type endless struct {
	taken  atomic.Int64
	closed atomic.Bool
}

func (e *endless) Read(p []byte) (int, error) {
	if e.closed.Load() {
		return 0, io.EOF
	}
	n := copy(p, "a line\n")
	e.taken.Add(int64(n))
	return n, nil
}

func TestInterruptWaitsForTheAcksOwed(t *testing.T) {
	fake := &sidecar{arrived: make(chan uint64)}
	client := serve(t, fake)
	ctx, interrupt := context.WithCancel(context.Background())
	defer interrupt()
	go func() { // ends when the run has, with the channel
		for seq := range fake.arrived {
			if seq == 300 {
				interrupt()
			}
		}
	}()
	sum, err := Run(ctx, client, Config{Window: 64}, readerOf(&endless{}))
	close(fake.arrived)
	if err != nil || !sum.Interrupted || sum.Closed || sum.Owed() != 0 || sum.Acked < 299 {
		t.Errorf("%+v, %v", sum, err)
	}
	if !strings.Contains(sum.String(), "go on with --session "+theSession) {
		t.Errorf("the summary does not say how to go on:\n%s", sum)
	}
	if got := len(fake.texts()); uint64(got) != sum.Acked {
		t.Errorf("the sidecar has %d, acked %d", got, sum.Acked)
	}
}

func TestInterruptDoesNotWaitForEver(t *testing.T) {
	fake := &sidecar{mute: true, arrived: make(chan uint64, 100)}
	ctx, interrupt := context.WithCancel(context.Background())
	defer interrupt()
	client := serve(t, fake)
	go func() { // ends at the tenth arrival
		for range 10 {
			<-fake.arrived
		}
		interrupt()
	}()
	sum, err := Run(ctx, client, Config{Window: 10, Linger: time.Millisecond}, readerOf(&endless{}))
	checkError(t, err, nil, "10 observations were sent and are not acknowledged")
	if sum.Owed() != 10 || sum.LastAcked != 0 {
		t.Errorf("%+v", sum)
	}
}

func TestInterruptWhileTheConnectionIsLost(t *testing.T) {
	fake := &sidecar{dropAt: map[uint64]drop{3: {err: lostLine}}}
	client := serve(t, fake)
	ctx, interrupt := context.WithCancel(context.Background())
	defer interrupt()
	cfg := Config{Linger: time.Millisecond, Notice: func(string, ...any) {
		fake.mu.Lock()
		defer fake.mu.Unlock()
		fake.initErr = status.Error(codes.Unavailable, "still away")
		interrupt()
	}}
	_, err := Run(ctx, client, cfg, linesOf(numbered(5)))
	checkError(t, err, nil, "interrupted while the connection was lost")
}

func TestInterruptStopsWaitingForTheStore(t *testing.T) {
	fake := &sidecar{quiet: true}
	client := serve(t, fake)
	ctx, interrupt := context.WithCancel(context.Background())
	defer interrupt()
	cfg := Config{Drain: true, Progress: func(s Summary) {
		if s.Closed {
			interrupt()
		}
	}}
	sum, err := Run(ctx, client, cfg, linesOf(numbered(5)))
	if err != nil || !sum.Closed || sum.Interrupted || sum.Acked != 5 {
		t.Errorf("%+v, %v", sum, err)
	}
}

// TestMemoryIsBounded feeds a sidecar that never acks from an input that never ends.
func TestMemoryIsBounded(t *testing.T) {
	fake := &sidecar{mute: true}
	client := serve(t, fake)
	in := &endless{}
	defer in.closed.Store(true)
	ctx, interrupt := context.WithCancel(context.Background())
	defer interrupt()
	var last int64
	var still int
	cfg := Config{Window: 50, Linger: time.Millisecond, Progress: func(s Summary) {
		if still++; s.BytesRead != last || s.Sent < 50 {
			last, still = s.BytesRead, 0
		}
		if still == 3 { // nothing more is read, progress after progress
			interrupt()
		}
	}}
	sum, _ := Run(ctx, client, cfg, readerOf(in))
	if sum.Sent != 50 {
		t.Errorf("sent %d unacked observations through a window of 50", sum.Sent)
	}
	if taken := in.taken.Load(); taken > 128<<10 {
		t.Errorf("%d bytes were read ahead", taken)
	}
}

func TestAnInterruptedReaderLosesNothing(t *testing.T) {
	all := numbered(10)
	pipe, feed := io.Pipe()
	fake := &sidecar{arrived: make(chan uint64, 10)}
	client := serve(t, fake)
	ctx, interrupt := context.WithCancel(context.Background())
	go func() { // ends with the fourth arrival; the pipe is closed below
		_, _ = io.WriteString(feed, strings.Join(all[:4], "\n")+"\n")
		for range 4 {
			<-fake.arrived
		}
		interrupt()
	}()
	sum, err := Run(ctx, client, Config{}, readerOf(pipe))
	_ = feed.Close()
	if err != nil || sum.Acked != 4 || !slices.Equal(fake.texts(), all[:4]) {
		t.Errorf("%+v, %v, %q", sum, err, fake.texts())
	}
	sum, err = Run(context.Background(), client, Config{Session: sum.Session, FromStart: true}, linesOf(all))
	if err != nil || sum.Known != 4 || !slices.Equal(fake.texts(), all) {
		t.Errorf("%+v, %v, %q", sum, err, fake.texts())
	}
}

func TestValidate(t *testing.T) {
	for says, cfg := range map[string]Config{
		"--window":     {Window: -1},
		"--from-start": {FromStart: true},
		"--drain":      {Drain: true, KeepOpen: true},
	} {
		if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), says) {
			t.Errorf("error %v does not begin with %s", err, says)
		}
	}
	if err := (Config{}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestPassing(t *testing.T) {
	for err, want := range map[error]bool{
		nil: true, errNoAnswer: true, errProtocol: false, context.Canceled: false, lostLine: true,
		status.Error(codes.NotFound, ""): false, status.Error(codes.Aborted, ""): false, errors.New("plain"): true,
	} {
		if got := passing(err); got != want {
			t.Errorf("passing(%v) = %v, want %v", err, got, want)
		}
	}
}

func TestAnInterruptLetsGoOfWhatWasNeverSent(t *testing.T) {
	sent := pending{first: time.Now()}
	r := run{window: window{acked: 7, pending: []pending{sent, sent, {}, {}}, sent: 1}, lines: make(chan line)}
	r.interrupted()
	if len(r.pending) != 2 || r.sent != 1 || !r.sum.Interrupted || r.lines != nil {
		t.Errorf("%d observations are kept, %d of them sent on this connection", len(r.pending), r.sent)
	}
}
