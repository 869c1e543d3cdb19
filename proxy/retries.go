package proxy

import (
	"context"
	"crypto/sha256"
	"sync"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// maxRetries is how many writes without a session are remembered, the newest ones. Each takes some 150 bytes.
const maxRetries = 16 << 10

// retries knows the single writes that were journaled lately, so that one which is sent again while it is pending, because
// its answer was lost, makes no second record: same space, id and content. It is a courtesy and no promise to rest on: a start
// begins without it, and what is older than the newest maxRetries is forgotten. The second record that is made then is
// delivered under the same memory id, which every store takes twice without harm.
type retries struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]*attempt
	order [][sha256.Size]byte // as a ring, the oldest at next once it is full
	next  int
}

// attempt is one write that was begun.
type attempt struct {
	done  chan struct{} // closed when the journal has answered
	index uint64        // of the record, once it is durable; 0 where it was refused; set before done is closed
}

// writeKey is what makes two writes the same.
func writeKey(r *wal.Record) (key [sha256.Size]byte) {
	h := sha256.New()
	h.Write([]byte{byte(r.Form), byte(len(r.Space))}) //nolint:gosec // a space has at most 64 bytes; so no two writes are the same bytes
	h.Write([]byte(r.Space))
	h.Write(r.Payload) // the id is in it
	h.Sum(key[:0])
	return key
}

// begin returns the attempt at a write, and whether it is the caller's own: then finish has to be called.
func (t *retries) begin(key [sha256.Size]byte, over *attempt) (a *attempt, own bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known, found := t.known[key]
	if found && known != over {
		return known, false
	}
	if t.known == nil {
		t.known = make(map[[sha256.Size]byte]*attempt)
	}
	a = &attempt{done: make(chan struct{})}
	t.known[key] = a
	if found {
		return a, true // it has its place already
	}
	if len(t.order) < maxRetries {
		t.order = append(t.order, key)
		return a, true
	}
	delete(t.known, t.order[t.next])
	t.order[t.next] = key
	t.next = (t.next + 1) % maxRetries
	return a, true
}

func (a *attempt) finish(index uint64) {
	a.index = index
	close(a.done)
}

// writeOnce makes one record durable, unless the same write is pending already. The error is the journal's or ctx's. What was
// begun is waited for though the client leaves: only then is it known what a retry finds.
func (s *Server) writeOnce(ctx context.Context, r *wal.Record) error {
	key := writeKey(r)
	a, own := s.retries.begin(key, nil)
	for !own {
		select {
		case <-a.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if a.index != 0 && s.deps.Settlement.IsPending(a.index) {
			return nil
		}
		a, own = s.retries.begin(key, a)
	}
	durable := uint64(0)
	defer func() { a.finish(durable) }()
	if _, err := s.deps.Journal.Write(context.WithoutCancel(ctx), r); err != nil {
		return err
	}
	durable = r.Index
	return nil
}
