package proxy

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// versionedStore is a store in memory that keeps the newest version of each memory, and answers exactly.
type versionedStore struct {
	mu      sync.Mutex
	held    map[string]wal.Record // by space and id
	down    bool
	between func() // called by Recall before it looks, outside mu
}

func (v *versionedStore) Capabilities() store.Capabilities { return allCues }

func (v *versionedStore) put(r wal.Record) {
	v.mu.Lock()
	defer v.mu.Unlock()
	key := r.Space + "/" + string(r.ID)
	if v.held[key].Index < r.Index {
		v.held[key] = r
	}
}

func (v *versionedStore) Recall(_ context.Context, q store.Query) (store.Answer, error) {
	v.between()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.down {
		return store.Answer{}, store.Unavailable(errDisk)
	}
	var hits []store.Hit
	o := newOverlay(q)
	for _, r := range v.held {
		h := ranked{Hit: store.Hit{ID: string(r.ID), Version: r.Index, Form: r.Form, Body: r.Payload}}
		if r.Space == q.Space && o.judge(&h) {
			hits = append(hits, h.Hit)
		}
	}
	slices.SortFunc(hits, func(a, b store.Hit) int { return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.ID, b.ID)) })
	return store.Answer{Hits: hits[:min(len(hits), q.K)]}, nil
}

func (v *versionedStore) Versions(_ context.Context, space string, ids []string) ([]uint64, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	versions := make([]uint64, len(ids))
	for i, id := range ids {
		versions[i] = v.held[space+"/"+id].Index
	}
	return versions, nil
}

// reach is what is acked, and what of it has come to the store.
type reach struct {
	e      *edge
	stored *versionedStore
	space  string
	c      *client
	seq    uint64
	acked  map[string]float64 // the newest acked version of each id: its cosine with the cue
	texts  map[string]string
}

// TestAckedIsAlwaysRecalled lets observations, deliveries in any order (also in the midst of a recall), an unable store and
// recalls come together as chance wills. With isolation off a recall shows the newest acked version of every memory, and
// nothing else; with isolation on it shows nothing that the store has not committed.
func TestAckedIsAlwaysRecalled(t *testing.T) {
	stored := &versionedStore{held: map[string]wal.Record{}, between: func() {}}
	e := newEdgeWith(t, Config{}, func(d *Deps) { d.Store = stored })
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		m := &reach{e: e, stored: stored, space: fmt.Sprintf("run-%d", run), acked: map[string]float64{}, texts: map[string]string{}}
		stored.between = func() {}
		m.c = e.connect()
		m.c.send(&pb.ObservationRequest{MemorySpaceId: m.space, Operation: &pb.ObservationRequest_Init{Init: &pb.StreamInit{}}})
		m.c.id = m.c.recv().GetSessionId()
		defer m.c.cancel()
		rt.Repeat(map[string]func(*rapid.T){
			"observe": m.observe, "observe more": m.observe, "remember": m.remember, "deliver": m.deliver, "recall": m.recall, "isolated": m.isolated,
			"go down": m.goDown,
		})
	})
}

func (m *reach) episode(rt *rapid.T) *pb.Episode {
	id := fmt.Sprintf("id-%d", rapid.IntRange(0, 4).Draw(rt, "id"))
	score := float64(rapid.IntRange(-10, 10).Draw(rt, "score")) / 10
	ep := along(id, score)
	ep.What = fmt.Sprintf("%s seen at %d", id, m.seq+uint64(len(m.texts))<<32)
	m.acked[id], m.texts[id] = score, ep.GetWhat()
	return ep
}

func (m *reach) observe(rt *rapid.T) {
	m.seq++
	m.c.send(observationOf(m.seq, m.episode(rt)))
	if res := m.c.recv(); res.GetAck() == nil {
		rt.Fatalf("not acked: %v", res)
	}
}

func (m *reach) remember(rt *rapid.T) {
	_, err := m.e.Remember(m.e.ctx, &pb.RememberRequest{
		MemorySpaceId: m.space, MemoryType: &pb.RememberRequest_Episode{Episode: m.episode(rt)},
	})
	if err != nil {
		rt.Fatal(err)
	}
}

// pending are the records that the store does not have yet.
func (m *reach) pending() (out []wal.Record) {
	m.e.ledger.mu.Lock()
	settled := maps.Clone(m.e.ledger.settled)
	m.e.ledger.mu.Unlock()
	for _, r := range m.e.journal.records(wal.KindWrite) {
		if r.Space == m.space && !settled[r.Index] {
			out = append(out, r)
		}
	}
	return out
}

// deliver hands one pending record to the store, any of them: lanes and sessions overtake one another.
func (m *reach) deliver(rt *rapid.T) {
	m.deliverAt(rapid.Uint16().Draw(rt, "which"))
}

func (m *reach) deliverAt(which uint16) {
	if waiting := m.pending(); len(waiting) > 0 {
		r := waiting[int(which)%len(waiting)]
		m.stored.put(r)
		m.e.ledger.settle(r.Index)
	}
}

func (m *reach) goDown(rt *rapid.T) {
	m.stored.mu.Lock()
	m.stored.down = rapid.IntRange(0, 2).Draw(rt, "down") == 0
	m.stored.mu.Unlock()
}

// request draws a recall, and lets some records be delivered in its midst.
func (m *reach) request(rt *rapid.T) (*pb.StreamingRecallRequest, float64) {
	during := rapid.SliceOfN(rapid.Uint16(), 0, 3).Draw(rt, "delivered meanwhile")
	m.stored.between = func() {
		for _, which := range during {
			m.deliverAt(which)
		}
	}
	threshold := float64(rapid.IntRange(-10, 9).Draw(rt, "threshold"))/10 + 0.05
	cue := cueOf(along("", 1).GetEmbedding())
	cue.GetEmbedding().SimilarityThreshold = float32(threshold)
	return &pb.StreamingRecallRequest{
		MemorySpaceId: m.space, SessionId: m.c.id, Cue: cue, MaxResults: rapid.Uint32Range(1, 6).Draw(rt, "limit"),
	}, threshold
}

func (m *reach) recall(rt *rapid.T) {
	r, threshold := m.request(rt)
	batches, header := m.e.recallAll(r)
	m.stored.mu.Lock()
	down := m.stored.down
	m.stored.mu.Unlock()
	if got := fmt.Sprint(header.Get(partialKey)); (got == "[store-unavailable]") != down {
		rt.Fatalf("the store is down: %v, and the answer says %s", down, got)
	}
	want := map[string]float64{}
	for id, score := range m.acked {
		if score >= threshold {
			want[id] = score
		}
	}
	got := map[string]bool{}
	last := 2.0
	for _, b := range batches {
		for _, memory := range b.GetResults() {
			id := memory.GetId()
			if got[id] {
				rt.Fatalf("%s comes twice", id)
			}
			got[id] = true
			if memory.GetContent() != m.texts[id] && !down { // without the store nobody knows of newer versions that are there
				rt.Fatalf("%s is shown as %q, the newest version that was acked is %q", id, memory.GetContent(), m.texts[id])
			}
			if score := float64(memory.GetActivation()); score > last+1e-6 {
				rt.Fatalf("%s with %v comes behind one with %v", id, score, last)
			} else {
				last = score
			}
		}
		if seq := b.GetSnapshotSequence(); seq != m.seq && !down {
			rt.Fatalf("snapshot at %d, acked were %d", seq, m.seq)
		}
	}
	if down { // what is pending is all there is
		return
	}
	if expected := min(len(want), int(r.GetMaxResults())); len(got) != expected {
		rt.Fatalf("%d memories are shown, expected %d: %v of %v", len(got), expected, got, want)
	}
	shown := slices.Sorted(maps.Values(want))
	slices.Reverse(shown)
	for id := range got {
		if score, ok := want[id]; !ok || score < shown[len(got)-1] {
			rt.Fatalf("%s is shown, whose newest version scores %v, of %v above %v", id, m.acked[id], want, threshold)
		}
	}
}

func (m *reach) isolated(rt *rapid.T) {
	r, _ := m.request(rt)
	r.SnapshotIsolation = true
	m.stored.mu.Lock()
	down := m.stored.down
	m.stored.mu.Unlock()
	if down {
		return // such a question is refused then: TestSnapshots
	}
	batches, _ := m.e.recallAll(r)
	m.stored.mu.Lock()
	defer m.stored.mu.Unlock()
	for _, b := range batches {
		for _, memory := range b.GetResults() {
			r, ok := m.stored.held[m.space+"/"+memory.GetId()]
			var ep pb.Episode
			switch {
			case !ok:
				rt.Fatalf("%s is shown, and was not committed", memory.GetId())
			case r.Form == wal.FormEpisode && proto.Unmarshal(r.Payload, &ep) == nil && ep.GetWhat() != memory.GetContent():
				rt.Fatalf("%s is shown as %q, committed is %q", memory.GetId(), memory.GetContent(), ep.GetWhat())
			}
		}
		if seq := b.GetSnapshotSequence(); seq > m.e.ledger.Through(m.e.sessionID(m.c.id)) {
			rt.Fatalf("snapshot at %d, settled are less", seq)
		}
	}
}

func (e *edge) sessionID(text string) wal.SessionID {
	id, err := wal.ParseSessionID(text)
	if err != nil {
		e.t.Fatal(err)
	}
	return id
}
