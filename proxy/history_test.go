package proxy

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"pgregory.net/rapid"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// history is one session's client as the protocol describes it: it sends ahead, goes back once to its last ack + 1 when
// something was refused, and comes back when it has lost its stream.
type history struct {
	e     *edge
	c     *client
	owed  []uint64 // sequences sent on this stream and not yet answered
	acked uint64   // the highest that was acked
	sent  uint64   // the highest that was ever sent in its turn
	next  uint64   // what comes next
}

// TestHistories lets a client, a journal that is slow or full, and lost streams come together as chance wills, and holds
// what the client was told against what the journal has.
func TestHistories(t *testing.T) {
	e := newEdge(t, Config{})
	rapid.Check(t, func(t *rapid.T) {
		h := &history{e: e}
		h.resume(t)
		t.Repeat(map[string]func(*rapid.T){
			"send": h.send, "send nonsense": h.nonsense, "hear": h.hear, "journal": h.journal,
			"half-close": h.halfClose, "insist": h.insist, "vanish": h.vanish, "take over": h.resume,
		})
		h.mend()
		h.resume(t)
		h.send(t)
		h.hear(t)
		h.judge(t)
		h.c.cancel()
	})
}

// resume opens a stream, on the session there is, if any.
func (h *history) resume(t *rapid.T) {
	h.mend() // or the new stream would wait for ever for the old one's writes
	id := ""
	if h.c != nil {
		id = h.c.id
		defer h.c.cancel()
	}
	ctx, cancel := context.WithCancel(h.e.ctx)
	stream, err := h.e.ObserveStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&pb.ObservationRequest{SessionId: id, Operation: &pb.ObservationRequest_Init{Init: &pb.StreamInit{EnableBackpressure: true}}}); err != nil {
		t.Fatal(err)
	}
	res, err := stream.Recv()
	if err != nil {
		t.Fatalf("init of %q: %v", id, err)
	}
	h.c = &client{t: h.e.t, stream: stream, cancel: cancel, id: res.GetSessionId()}
	last := res.GetInitAck().GetInitialSequence()
	if last < h.acked || last > h.sent {
		t.Fatalf("resumed after %d: acked were %d, sent %d", last, h.acked, h.sent)
	}
	h.acked, h.next, h.owed = last, last+1, nil
}

func (h *history) send(t *rapid.T) {
	for range rapid.IntRange(1, 20).Draw(t, "how many") {
		h.c.observe(h.next)
		h.owed = append(h.owed, h.next)
		h.sent = max(h.sent, h.next)
		h.next++
	}
}

// nonsense sends what is refused whatever the state, but is answered in its turn.
func (h *history) nonsense(*rapid.T) {
	h.c.send(observationOf(h.next+1000, episode("")))
	h.owed = append(h.owed, h.next+1000)
}

func (h *history) journal(t *rapid.T) {
	what := rapid.SampledFrom([]string{"hold", "full", "refuse", "mend"}).Draw(t, "what")
	switch what {
	case "hold":
		h.e.journal.hold()
	case "full":
		h.e.full(wal.ErrFull)
	case "refuse":
		h.e.journal.set(func() { h.e.journal.refuse = wal.ErrFull })
	case "mend":
		h.mend()
	}
}

func (h *history) mend() {
	h.e.full(nil)
	h.e.journal.release()
}

// hear receives all answers that are owed.
func (h *history) hear(t *rapid.T) {
	h.e.journal.release()
	refused := false
	for ; len(h.owed) > 0; h.owed = h.owed[1:] {
		res, err := h.c.stream.Recv()
		if err != nil {
			t.Fatalf("waiting for the answer to %d: %v", h.owed[0], err)
		}
		if res.GetSequenceNumber() != h.owed[0] {
			t.Fatalf("answered %d, want %d", res.GetSequenceNumber(), h.owed[0])
		}
		if res.GetAck() == nil {
			refused = true
			continue
		}
		if h.owed[0] != h.acked+1 {
			t.Fatalf("acked %d after %d", h.owed[0], h.acked)
		}
		h.acked++
	}
	if refused {
		h.next = h.acked + 1
	}
}

// insist has the journal mended, and what the stream was last told to send taken at once: no refusal before may have used a
// sequence up.
func (h *history) insist(t *rapid.T) {
	h.hear(t)
	h.mend()
	h.e.journal.set(func() { h.e.journal.refuse = nil })
	before := h.acked
	h.send(t)
	sent := h.next - 1
	h.hear(t)
	if h.acked != sent {
		t.Fatalf("%d to %d were sent where the journal takes them, and %d was acked", before+1, sent, h.acked)
	}
}

func (h *history) halfClose(t *rapid.T) {
	if err := h.c.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	h.hear(t)
	if _, err := h.c.stream.Recv(); status.Code(err) != codes.Unknown { // io.EOF is no status
		t.Fatalf("after all answers came %v", err)
	}
	h.resume(t)
}

func (h *history) vanish(t *rapid.T) {
	h.c.cancel()
	h.resume(t)
}

// judge holds the client's knowledge against the journal.
func (h *history) judge(t *rapid.T) {
	var last uint64
	for _, r := range h.e.journal.records(wal.KindWrite) {
		if r.Session.String() != h.c.id {
			continue
		}
		if last++; r.Sequence != last || string(r.ID) != fmt.Sprintf("%s-%d", h.c.id, last) {
			t.Fatalf("the journal has %d with id %q where %d should be", r.Sequence, r.ID, last)
		}
	}
	if last != h.acked {
		t.Fatalf("the journal has %d, and %d were acked", last, h.acked)
	}
}
