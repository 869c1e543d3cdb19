package proxy

import (
	"sync"
	"sync/atomic"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// News passes on what has become of records to the streams that asked for it. It keeps nothing and waits for nobody: a
// stream that is slow to take its news loses them and asks the ledger, or loses its subscription.
type News struct {
	listening atomic.Int64 // streams that want any; where there is none, a report costs one look at this

	mu          sync.RWMutex
	sessions    map[wal.SessionID]*fates
	subscribers map[*subscription]struct{}
}

// NewNews returns a News that nobody listens to yet.
func NewNews() *News {
	return &News{sessions: map[wal.SessionID]*fates{}, subscribers: map[*subscription]struct{}{}}
}

// Settled reports the fate of a write: delivered, dead or damaged; reason is why, where it was not delivered. Within a
// session reports come in the order of the sequence. The report of a dead letter comes after the ledger's own, so that who
// has missed it finds it there. R is valid during the call. It does not block.
func (n *News) Settled(r *wal.Record, fate wal.Fate, reason string) {
	if n.listening.Load() == 0 {
		return
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	if f := n.sessions[r.Session]; f != nil { // no stream has the session that is none
		f.report(r, fate)
	}
	for s := range n.subscribers {
		s.report(r, fate, reason)
	}
}

func (n *News) follow(id wal.SessionID, f *fates) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sessions[id] = f
	n.listening.Add(1)
}

// unfollow returns when no report to f is under way any more. A stream that has lost its session to another may come late.
func (n *News) unfollow(id wal.SessionID, f *fates) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sessions[id] == f {
		delete(n.sessions, id)
	}
	n.listening.Add(-1)
}

func (n *News) subscribe(s *subscription) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.subscribers[s] = struct{}{}
	n.listening.Add(1)
}

func (n *News) unsubscribe(s *subscription) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.subscribers[s]; ok {
		delete(n.subscribers, s)
		n.listening.Add(-1)
	}
}
