package proxy

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"pgregory.net/rapid"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/session"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// world is an edge that crashes, the journal that outlives it, and several sessions whose clients come and go.
type world struct {
	t        *testing.T
	e        *edge
	sessions []*saga
}

// saga is one session as its client knows it. Its streams ask for INDEXED acks.
type saga struct {
	w       *world
	c       *client
	zombies []*client // streams that were taken over, whose clients do not know yet
	owed    []owed
	acked   uint64 // the highest that was acked
	sent    uint64 // the highest that was ever sent in its turn
	next    uint64
	told    uint64 // what became of all up to here was told on this stream
	fresh   bool   // nothing was told on this stream: the first may stand for many
	gaps    bool   // something was settled unreported on this stream: one INDEXED may stand for many again
	paused  bool
}

// owed is an answer that the client waits for.
type owed struct {
	sequence uint64
	flow     bool
}

// TestHistoriesWithCrashes holds concurrent sessions, takeovers, pauses, a journal that is slow or full, a store that takes
// and refuses, and crashes, against what the protocol promises a client. One hundred seeds.
func TestHistoriesWithCrashes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := &world{t: t, e: newEdge(t, Config{})}
		defer func() { w.kill() }()
		for range 3 {
			s := &saga{w: w}
			s.resume(rt)
			w.sessions = append(w.sessions, s)
		}
		on := func(act func(*saga, *rapid.T)) func(*rapid.T) {
			return func(rt *rapid.T) { act(rapid.SampledFrom(w.sessions).Draw(rt, "session"), rt) }
		}
		rt.Repeat(map[string]func(*rapid.T){
			"send": on((*saga).send), "send more": on((*saga).send), "hear": on((*saga).hear), "take over": on((*saga).resume),
			"vanish": on((*saga).vanish), "zombie": on((*saga).zombie), "pause": on((*saga).pause), "close": on((*saga).close),
			"deliver": on((*saga).deliver), "journal": w.journal, "crash": w.crash,
		})
		w.mend()
		for _, s := range w.sessions {
			s.finish(rt)
		}
	})
}

func (w *world) mend() {
	w.e.full(nil)
	w.e.journal.release()
}

func (w *world) journal(t *rapid.T) {
	switch rapid.SampledFrom([]string{"hold", "full", "refuse", "mend"}).Draw(t, "what") {
	case "hold":
		w.e.journal.hold()
	case "full":
		w.e.full(wal.ErrFull)
	case "refuse":
		w.e.journal.set(func() { w.e.journal.refuse = wal.ErrFull })
	case "mend":
		w.mend()
	}
}

// kill ends an edge: what waits for its fsync is lost, and no client hears anything more.
func (w *world) kill() {
	for _, s := range w.sessions {
		for _, c := range append(s.zombies, s.c) {
			c.cancel()
		}
		s.zombies = nil
	}
	w.e.journal.set(func() {
		gone := fmt.Errorf("%w: %w", wal.ErrFailed, errDisk)
		w.e.journal.state, w.e.journal.refuse, w.e.journal.held = gone, gone, false
	})
	w.e.stop()
	<-w.e.ended
	_ = w.e.conn.Close()
}

// crash starts another edge over what was durable. Of what was settled some may be forgotten.
func (w *world) crash(t *rapid.T) {
	old := w.e
	old.journal.mu.Lock()
	durable, index := append([]wal.Record(nil), old.journal.durable...), old.journal.index
	old.journal.mu.Unlock()
	w.kill()
	w.e = newEdge(w.t, Config{}, restoredFrom(durable)...)
	w.e.journal.set(func() { w.e.journal.durable, w.e.journal.index = durable, index })
	for _, s := range w.sessions {
		id, err := wal.ParseSessionID(s.c.id)
		if err != nil {
			t.Fatal(err)
		}
		kept := rapid.Uint64Range(0, old.ledger.Through(id)).Draw(t, "settled and not forgotten")
		for _, r := range durable {
			if r.Session == id && r.Kind == wal.KindWrite && r.Sequence <= kept {
				w.e.ledger.settled[r.Index], w.e.ledger.died[r.Index] = true, old.ledger.died[r.Index]
			}
		}
	}
	for _, s := range w.sessions {
		s.resume(t)
	}
}

// restoredFrom is what recovery makes of a journal.
func restoredFrom(records []wal.Record) (out []session.Snapshot) {
	at := map[wal.SessionID]int{}
	for _, r := range records {
		i, known := at[r.Session]
		if !known {
			i, at[r.Session] = len(out), len(out)
			out = append(out, session.Snapshot{ID: r.Session, Space: r.Space, Lane: uint8(r.Lane)})
		}
		out[i].Last = max(out[i].Last, r.Sequence)
		out[i].Closed = out[i].Closed || r.Kind == wal.KindSessionClosed
	}
	return out
}

// resume opens a stream, on the session there is, if any. The stream before lives on as a zombie.
func (s *saga) resume(t *rapid.T) {
	s.w.mend() // or the new stream would wait for ever for the old one's writes
	id := ""
	if s.c != nil {
		id = s.c.id
		s.zombies = append(s.zombies, s.c)
	} else {
		s.w.e.journal.set(func() { s.w.e.journal.refuse = nil })
	}
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(s.w.e.ctx, acksKey, "indexed"))
	stream, err := s.w.e.ObserveStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	init := &pb.ObservationRequest{SessionId: id, Operation: &pb.ObservationRequest_Init{Init: &pb.StreamInit{EnableBackpressure: true}}}
	if err := stream.Send(init); err != nil {
		t.Fatal(err)
	}
	res, err := stream.Recv()
	if err != nil {
		t.Fatalf("init of %q: %v", id, err)
	}
	s.c = &client{t: s.w.t, stream: stream, cancel: cancel, id: res.GetSessionId()}
	last := res.GetInitAck().GetInitialSequence()
	if last < s.acked || last > s.sent || id != "" && s.c.id != id {
		t.Fatalf("resumed %s as %s after %d: acked were %d, sent %d", id, s.c.id, last, s.acked, s.sent)
	}
	s.acked, s.next, s.owed, s.told, s.fresh, s.gaps = last, last+1, nil, 0, true, false
	s.paused = s.c.info(s.w.e).State == session.Paused
}

func (s *saga) send(t *rapid.T) {
	for range rapid.IntRange(1, 15).Draw(t, "how many") {
		s.c.observe(s.next)
		s.owed = append(s.owed, owed{sequence: s.next})
		s.sent = max(s.sent, s.next)
		s.next++
	}
}

// zombie has a client send on a stream that another one took over: nothing of it may be taken.
func (s *saga) zombie(*rapid.T) {
	for _, z := range s.zombies {
		z.observe(s.next)
	}
}

func (s *saga) pause(*rapid.T) {
	action := pb.FlowControl_ACTION_PAUSE
	if s.paused {
		action = pb.FlowControl_ACTION_RESUME
	}
	s.paused = !s.paused
	s.c.flow(&pb.FlowControl{Action: action})
	s.owed = append(s.owed, owed{flow: true})
}

// hear receives all answers that are owed, and what comes between them.
func (s *saga) hear(t *rapid.T) {
	s.w.e.journal.release()
	refused := false
	for len(s.owed) > 0 {
		res, err := s.c.stream.Recv()
		if err != nil {
			t.Fatalf("waiting for the answer to %+v: %v", s.owed[0], err)
		}
		if s.news(t, res) {
			continue
		}
		want := s.owed[0]
		s.owed = s.owed[1:]
		switch {
		case res.GetSequenceNumber() != want.sequence:
			t.Fatalf("answered %v, want an answer to %d", res, want.sequence)
		case want.flow:
		case res.GetAck() == nil:
			refused = true
		case want.sequence != s.acked+1:
			t.Fatalf("acked %d after %d", want.sequence, s.acked)
		default:
			s.acked++
		}
	}
	if refused {
		s.next = s.acked + 1
	}
}

// news takes what became of observations. It returns false where res is something else.
func (s *saga) news(t *rapid.T, res *pb.ObservationResponse) bool {
	n, ack := res.GetSequenceNumber(), res.GetAck().GetStatus()
	if ack != indexed && ack != rejected {
		return false
	}
	if n > s.acked || n <= s.told {
		t.Fatalf("%v of %d: told were %d, acked %d", ack, n, s.told, s.acked)
	}
	if !s.fresh && !s.gaps && n != s.told+1 {
		t.Fatalf("%v of %d after %d, with none for those between", ack, n, s.told)
	}
	for _, r := range s.w.e.journal.records(wal.KindWrite) {
		if r.Session.String() != s.c.id || r.Sequence <= s.told || r.Sequence > n {
			continue
		}
		s.w.e.ledger.mu.Lock()
		settled, died := s.w.e.ledger.settled[r.Index], s.w.e.ledger.died[r.Index]
		s.w.e.ledger.mu.Unlock()
		if !settled || r.Sequence == n && died != (ack == rejected) {
			t.Fatalf("%v of %d, and %d is settled: %v, dead: %v", ack, n, r.Sequence, settled, died)
		}
	}
	s.told = n
	if ack == indexed {
		s.fresh = false
	}
	return true
}

// deliver has the store answer to the next observations of the session that are durable.
func (s *saga) deliver(t *rapid.T) {
	id, err := wal.ParseSessionID(s.c.id)
	if err != nil {
		t.Fatal(err)
	}
	through, durable := s.w.e.ledger.Through(id), uint64(0)
	for _, r := range s.w.e.journal.records(wal.KindWrite) {
		if r.Session == id {
			durable = r.Sequence
		}
	}
	for n := rapid.Uint64Range(1, 10).Draw(t, "how many"); n > 0 && through < durable; n-- {
		fate := wal.Delivered
		if rapid.IntRange(0, 4).Draw(t, "dies") == 0 {
			fate = wal.Dead
		}
		through++
		if through < durable && rapid.IntRange(0, 4).Draw(t, "quietly") == 0 { // settled by an operator, say: the ledger alone knows
			for _, r := range s.w.e.journal.records(wal.KindWrite) {
				if r.Session == id && r.Sequence == through {
					s.w.e.ledger.set(func() { s.w.e.ledger.settled[r.Index], s.w.e.ledger.died[r.Index] = true, fate == wal.Dead })
				}
			}
			s.gaps = true
			continue
		}
		s.w.e.deliver(s.c.id, fate, through)
	}
}

func (s *saga) vanish(t *rapid.T) {
	s.c.cancel()
	s.resume(t)
}

// close ends the session; its client begins another.
func (s *saga) close(t *rapid.T) {
	s.w.mend()
	s.hear(t)
	s.w.e.journal.set(func() { s.w.e.journal.refuse = nil })
	s.c.close(false, s.acked)
	for {
		res, err := s.c.stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if s.news(t, res) {
			continue
		}
		if res.GetStatus().GetState() != pb.StreamStatus_STATE_CLOSED {
			t.Fatalf("closed with %v", res)
		}
		break
	}
	again := s.w.e.connect()
	again.send(initOf(s.c.id))
	if _, err := again.stream.Recv(); status.Code(err) != codes.FailedPrecondition {
		t.Fatalf("a closed session was resumed: %v", err)
	}
	again.cancel()
	s.judge(t)
	zombies := append(s.zombies, s.c)
	*s = saga{w: s.w}
	s.resume(t)
	s.zombies = zombies
}

// finish has all be answered and settled, and the client told of each.
func (s *saga) finish(t *rapid.T) {
	s.hear(t)
	if s.paused {
		s.pause(t)
		s.hear(t)
	}
	s.send(t)
	s.hear(t)
	s.judge(t)
	id, err := wal.ParseSessionID(s.c.id)
	if err != nil {
		t.Fatal(err)
	}
	for n := s.w.e.ledger.Through(id) + 1; n <= s.acked; n++ {
		s.w.e.deliver(s.c.id, wal.Delivered, n)
	}
	for s.told < s.acked {
		res, err := s.c.stream.Recv()
		if err != nil {
			t.Fatalf("told were %d of %d: %v", s.told, s.acked, err)
		}
		if !s.news(t, res) {
			t.Fatalf("got %v, which nobody asked for", res)
		}
	}
}

// judge holds the client's knowledge against the journal.
func (s *saga) judge(t *rapid.T) {
	var last uint64
	for _, r := range s.w.e.journal.records(wal.KindWrite) {
		if r.Session.String() != s.c.id {
			continue
		}
		if last++; r.Sequence != last || string(r.ID) != fmt.Sprintf("%s-%d", s.c.id, last) {
			t.Fatalf("the journal has %d with id %q where %d should be", r.Sequence, r.ID, last)
		}
	}
	if last != s.acked {
		t.Fatalf("the journal has %d, and %d were acked", last, s.acked)
	}
}
