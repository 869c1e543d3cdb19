package proxy

import (
	"context"
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// maxRetries is how many memories are remembered for the retries of their writes, the newest ones. Each takes some 300 bytes.
const maxRetries = 16 << 10

// retries knows the single writes that were journaled lately, so that one which is sent again while it is pending, because
// its answer was lost, makes no second record: same space, id and content, and nothing else written under that id meanwhile,
// for then it would be an older version that comes back. It is a courtesy and no promise to rest on: a start begins without
// it, and what is older than the newest maxRetries is forgotten. The second record that is made then is delivered under the
// same memory id, which every store takes twice without harm.
type retries struct {
	some atomic.Bool // anything is known; set for good by the first single write

	mu    sync.Mutex
	known map[digest]*versions
	order []digest // as a ring, the oldest at next once it is full
	next  int
}

type digest [sha256.Size]byte

// versions are the writes of one memory.
type versions struct {
	last   *attempt // the one that was begun last
	newest uint64   // the highest index of those that are durable
}

// attempt is one write that was begun.
type attempt struct {
	content digest
	done    chan struct{} // closed when the journal has answered
	index   uint64        // of the record, once it is durable; 0 where it was refused; set before done is closed
}

// memoryDigest stands for a memory, whatever is written of it.
func memoryDigest(space string, id []byte) digest {
	b := make([]byte, 0, 128)
	b = append(b, byte(len(space))) //nolint:gosec // at most 64; so that no two memories are the same bytes
	b = append(b, space...)
	return sha256.Sum256(append(b, id...))
}

// contentDigest stands for all that was sent.
func contentDigest(r *wal.Record) (sum digest) {
	h := sha256.New()
	h.Write([]byte{byte(r.Form)})
	h.Write(r.Payload)
	h.Sum(sum[:0])
	return sum
}

// begin returns the attempt at a write, and whether it is the caller's own: then finish has to be called. over is an
// attempt that was found to be of no use any more.
func (t *retries) begin(memory, content digest, over *attempt) (a *attempt, own bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.known[memory]
	if v != nil && v.last != over && v.last.content == content && (v.last.index == 0 || v.last.index == v.newest) {
		return v.last, false
	}
	a = &attempt{content: content, done: make(chan struct{})}
	if v != nil {
		v.last = a
		return a, true
	}
	t.add(memory, &versions{last: a})
	return a, true
}

// add makes a memory known, and the oldest one forgotten. The lock is held.
func (t *retries) add(memory digest, v *versions) {
	if t.known == nil {
		t.known = make(map[digest]*versions)
		t.some.Store(true)
	}
	t.known[memory] = v
	if len(t.order) < maxRetries {
		t.order = append(t.order, memory)
		return
	}
	delete(t.known, t.order[t.next])
	t.order[t.next] = memory
	t.next = (t.next + 1) % maxRetries
}

// again is the index of the record of the same write, where that is the newest of its memory. A stream asks: it does not
// wait for what another call has begun.
func (t *retries) again(memory, content digest) (index uint64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.known[memory]
	if v == nil || v.last.content != content || !isClosed(v.last.done) || v.last.index != v.newest {
		return 0, false
	}
	return v.last.index, v.last.index != 0
}

// isPending says whether the same write is durable and on its way to the store already.
func (s *Server) isPending(memory, content digest) bool {
	index, ok := s.retries.again(memory, content)
	return ok && s.deps.Settlement.IsPending(index)
}

// finish tells what became of an attempt: the index of its record, or 0.
func (t *retries) finish(memory digest, a *attempt, index uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if v := t.known[memory]; v != nil {
		v.newest = max(v.newest, index)
	}
	a.index = index
	close(a.done)
}

// superseded forgets a memory of which a stream has just appended a version.
func (t *retries) superseded(r *wal.Record) {
	if !t.some.Load() || r.Kind != wal.KindWrite {
		return
	}
	memory := memoryDigest(r.Space, r.ID)
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.known, memory)
}

// appendOnce brings a single write of a stream into the journal, unless a call has made the same one durable and it is pending:
// then it has the answer said in its turn. What a stream appends is not remembered: until it is durable a full disk may take it
// back, and its index goes to another record then. Writing is held, the error is the journal's.
func (p *pipe) appendOnce(r *wal.Record, a answer) error {
	memory, content := memoryDigest(r.Space, r.ID), contentDigest(r)
	if p.s.isPending(memory, content) {
		p.s.observer.Acked(1, time.Since(time.Unix(0, a.arrived)))
		p.reply(answerReady, p.owner.appendAnswer(nil, &a, r.ID))
		return nil
	}
	return p.append(r, a, r.ID)
}

// writeOnce makes one record durable, unless the same write is pending already. The error is the journal's or ctx's. What was
// begun is waited for though the client leaves: only then is it known what a retry finds.
func (s *Server) writeOnce(ctx context.Context, r *wal.Record) error {
	memory, content := memoryDigest(r.Space, r.ID), contentDigest(r)
	a, own := s.retries.begin(memory, content, nil)
	for !own {
		select {
		case <-a.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if a.index != 0 && s.deps.Settlement.IsPending(a.index) {
			return nil
		}
		a, own = s.retries.begin(memory, content, a)
	}
	durable := uint64(0)
	defer func() { s.retries.finish(memory, a, durable) }()
	if _, err := s.deps.Journal.Write(context.WithoutCancel(ctx), r); err != nil {
		return err
	}
	durable = r.Index
	return nil
}
