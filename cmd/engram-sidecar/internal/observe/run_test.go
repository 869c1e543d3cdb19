package observe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// numbered returns the texts "line 1" to "line n".
func numbered(n int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = fmt.Sprintf("line %d", i+1)
	}
	return lines
}

// without leaves some texts out.
func without(lines []string, out ...string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(s string) bool { return slices.Contains(out, s) })
}

func readerOf(in io.Reader) *Reader {
	return NewReader(in, ReaderConfig{
		Format: FormatAuto, Dimensions: 4, IDPrefix: "t",
		Embed: func(string) []float32 { return []float32{1, 0, 0, 0} }, Now: time.Now,
	})
}

func linesOf(lines []string) *Reader { return readerOf(strings.NewReader(strings.Join(lines, "\n"))) }

var lostLine = status.Error(codes.Unavailable, "the sidecar went away")

func TestRun(t *testing.T) {
	all := numbered(100)
	cases := []struct {
		name string
		fake *sidecar
		cfg  Config
		want []string                      // what the sidecar has in the end
		err  error                         // in the chain of the error
		says string                        // in the error
		sum  func(t *testing.T, s Summary) // further checks
	}{
		{name: "all goes well", fake: &sidecar{}, want: all, sum: func(t *testing.T, s Summary) {
			if !s.Closed || s.Reconnects != 0 || s.Resent != 0 || s.P50 <= 0 || s.P99 < s.P50 || s.Rate <= 0 {
				t.Errorf("summary %+v", s)
			}
		}},
		{name: "a window of one", fake: &sidecar{}, cfg: Config{Window: 1}, want: all},
		{name: "the line drops before an observation is durable", fake: &sidecar{dropAt: map[uint64]drop{40: {err: lostLine}}}, want: all, sum: reconnects(1)},
		{name: "the line drops and an ack is lost", fake: &sidecar{dropAt: map[uint64]drop{40: {lostLine, true}}}, want: all, sum: reconnects(1)},
		{name: "three drops", fake: &sidecar{dropAt: map[uint64]drop{1: {err: lostLine}, 50: {lostLine, true}, 100: {lostLine, true}}}, want: all, sum: reconnects(3)},
		{name: "the server ends the stream without a word", fake: &sidecar{dropAt: map[uint64]drop{7: {err: status.Error(codes.Internal, "RST_STREAM")}}}, want: all, sum: reconnects(1)},
		{
			name: "acked observations are gone at the resume", fake: &sidecar{dropAt: map[uint64]drop{40: {err: lostLine}}, forget: 5}, cfg: Config{Window: 1},
			want: all[:34], err: ErrLoss, says: "resumes after 34, but had acknowledged 39",
		},
		{
			name: "somebody else went on with the session", fake: &sidecar{dropAt: map[uint64]drop{40: {err: lostLine}}, invent: 500}, cfg: Config{Window: 1},
			want: all[:39], err: ErrOutOfStep, says: "observation 539",
		},
		{
			name: "another stream took the session", fake: &sidecar{dropAt: map[uint64]drop{40: {err: status.Error(codes.Aborted, "taken over")}}}, cfg: Config{Window: 1},
			want: all[:39], says: "taken over",
		},
		{name: "no room for a moment", fake: &sidecar{overload: map[uint64]bool{30: true}}, want: all},
		{name: "a paused session", fake: &sidecar{paused: true}, want: all},
		{
			name: "an invalid observation", fake: &sidecar{refuse: map[string]bool{"line 20": true}},
			want: all[:19], says: "line 20: refused by the sidecar: what: not to my taste", sum: owesNothing,
		},
		{
			name: "invalid observations left out", fake: &sidecar{refuse: map[string]bool{"line 1": true, "line 20": true, "line 21": true, "line 100": true}},
			cfg: Config{SkipInvalid: true}, want: without(all, "line 1", "line 20", "line 21", "line 100"), sum: func(t *testing.T, s Summary) {
				if s.Skipped != 4 {
					t.Errorf("skipped %d, want 4", s.Skipped)
				}
			},
		},
		{name: "an observation acked twice", fake: &sidecar{ackTwice: true}, cfg: Config{Window: 1}, err: errProtocol, says: "expected the ack of observation 2, got that of 1", want: all[:1]},
		{name: "an ack before its turn", fake: &sidecar{ackAhead: 1}, cfg: Config{Window: 1}, err: errProtocol, says: "expected the ack of observation 1, got that of 2", want: all[:1]},
		{name: "no room for a session", fake: &sidecar{initErr: status.Error(codes.ResourceExhausted, "20000 sessions")}, says: "20000 sessions"},
		{name: "an answer that is none", fake: &sidecar{wrongInit: true}, err: errProtocol},
		{name: "an unknown session", fake: &sidecar{}, cfg: Config{Session: "x"}, says: "no such session"},
		{name: "a drained close", fake: &sidecar{}, cfg: Config{Drain: true}, want: all, sum: func(t *testing.T, s Summary) {
			if s.Store != "closed, drained: true" {
				t.Errorf("store message %q", s.Store)
			}
		}},
		{name: "the line drops at the close", fake: &sidecar{onClose: lostLine}, want: all},
		{name: "a server that does not confirm the close", fake: &sidecar{quiet: true, onClose: nil}, cfg: Config{KeepOpen: true}, want: all},
		{name: "left open", fake: &sidecar{}, cfg: Config{KeepOpen: true}, want: all, sum: func(t *testing.T, s Summary) {
			if s.Closed {
				t.Error("it was closed")
			}
		}},
		{name: "a window too large", fake: &sidecar{}, cfg: Config{Window: MaxWindow + 1}, says: "--window: expected 1 to 10000"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			sum, err := Run(context.Background(), serve(t, c.fake), c.cfg, linesOf(all))
			checkError(t, err, c.err, c.says)
			if got := c.fake.texts(); !slices.Equal(got, c.want) {
				t.Errorf("the sidecar has %d observations: %q, want %d", len(got), got, len(c.want))
			}
			if c.err == nil && sum.Acked != uint64(len(c.want)) {
				t.Errorf("acked %d, want %d: %+v", sum.Acked, len(c.want), sum)
			}
			if c.sum != nil {
				c.sum(t, sum)
			}
		})
	}
}

func reconnects(n uint64) func(*testing.T, Summary) {
	return func(t *testing.T, s Summary) {
		if s.Reconnects != n || s.Owed() != 0 || s.Failure != "" {
			t.Errorf("summary %+v, want %d reconnects and nothing owed", s, n)
		}
	}
}

func owesNothing(t *testing.T, s Summary) {
	if s.Owed() != 0 || s.Closed || s.Failure == "" {
		t.Errorf("summary %+v: want nothing owed, an open session and a failure", s)
	}
}

func checkError(t *testing.T, err, want error, says string) {
	t.Helper()
	switch {
	case want == nil && says == "" && err != nil:
		t.Fatalf("failed: %v", err)
	case want != nil && !errors.Is(err, want):
		t.Errorf("error %v, want %v", err, want)
	case says != "" && (err == nil || !strings.Contains(err.Error(), says)):
		t.Errorf("error %v does not say %q", err, says)
	}
}

func TestGoingOnWithASession(t *testing.T) {
	all := numbered(50)
	fake := &sidecar{}
	client := serve(t, fake)
	if _, err := Run(context.Background(), client, Config{KeepOpen: true, Space: "agents", Priority: "low"}, linesOf(all[:20])); err != nil {
		t.Fatal(err)
	}
	first := fake.inits[0]
	if first.MemorySpaceId != "agents" || fake.metadata[0].Get("engram-priority")[0] != "low" || first.GetInit().EnableBackpressure {
		t.Errorf("init %v %v", first, fake.metadata[0])
	}
	sum, err := Run(context.Background(), client, Config{Session: theSession, FromStart: true}, linesOf(all))
	if err != nil || sum.Known != 20 || sum.Acked != 30 || sum.LastAcked != 50 {
		t.Errorf("from the start: %+v, %v", sum, err)
	}
	if got := fake.texts(); !slices.Equal(got, all) {
		t.Errorf("the sidecar has %q", got)
	}
}

func TestFromStartWithAnotherInput(t *testing.T) {
	fake := &sidecar{session: theSession, got: make([]*engramv1.Episode, 10)}
	_, err := Run(context.Background(), serve(t, fake), Config{Session: theSession, FromStart: true}, linesOf(numbered(4)))
	checkError(t, err, nil, "the input has 4 observations, the session 10")
}

func TestInvalidLines(t *testing.T) {
	input := "{\"what\":\"one\"}\nnot JSON\n{\"what\":\"three\"}\n"
	fake := &sidecar{}
	sum, err := Run(context.Background(), serve(t, fake), Config{}, readerOf(strings.NewReader(input)))
	checkError(t, err, nil, "line 2: expected a JSON object")
	if sum.Acked != 1 || sum.Closed {
		t.Errorf("before the bad line: %+v", sum)
	}
	fake = &sidecar{}
	sum, err = Run(context.Background(), serve(t, fake), Config{SkipInvalid: true}, readerOf(strings.NewReader(input)))
	if err != nil || sum.Skipped != 1 || !slices.Equal(fake.texts(), []string{"one", "three"}) {
		t.Errorf("%+v, %v, %q", sum, err, fake.texts())
	}
}

func TestAnInputThatCannotBeRead(t *testing.T) {
	broken := errors.New("the disk is gone")
	fake := &sidecar{}
	sum, err := Run(context.Background(), serve(t, fake), Config{},
		readerOf(io.MultiReader(strings.NewReader("one\n"), &failing{broken})))
	if !errors.Is(err, broken) || sum.Acked != 1 {
		t.Errorf("%+v, %v", sum, err)
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

// A sidecar that has no room for a moment is waited for, and not in silence.
func TestWhoIsHeldUpIsToldWhy(t *testing.T) {
	fake := &sidecar{overload: map[uint64]bool{30: true}}
	var notices []string
	cfg := Config{Patience: time.Millisecond, Notice: func(f string, args ...any) { notices = append(notices, fmt.Sprintf(f, args...)) }}
	sum, err := Run(context.Background(), serve(t, fake), cfg, linesOf(numbered(40)))
	checkError(t, err, nil, "")
	said := strings.Join(notices, "; ")
	if sum.Acked != 40 || !strings.Contains(said, "no ack has come for 1ms: the sidecar holds the stream up") || !strings.HasSuffix(said, "acks come again") {
		t.Errorf("%+v, notices %q", sum, notices)
	}
}

func TestGivingUpAfterAWhile(t *testing.T) {
	fake := &sidecar{dropAt: map[uint64]drop{3: {err: lostLine}}}
	client := serve(t, fake)
	var notices []string
	cfg := Config{RetryFor: time.Nanosecond, Notice: func(f string, args ...any) {
		notices = append(notices, fmt.Sprintf(f, args...))
		fake.mu.Lock()
		defer fake.mu.Unlock()
		fake.initErr = lostLine
	}}
	sum, err := Run(context.Background(), client, cfg, linesOf(numbered(5)))
	checkError(t, err, nil, "the sidecar went away")
	if sum.LastAcked != 2 || sum.Session != theSession || len(notices) != 1 || !strings.Contains(notices[0], "connection lost after observation 2") {
		t.Errorf("%+v, notices %q", sum, notices)
	}
}
