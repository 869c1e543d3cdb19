package proxy

import (
	"context"
	"time"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// expire forgets sessions whose time has passed, and journals that, until ctx ends.
func (s *Server) expire(ctx context.Context) {
	every := min(max(s.bounds().Session.Timeout/20, 10*time.Millisecond), time.Second)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	producer := s.deps.Journal.NewProducer()
	for {
		select {
		case <-ticker.C:
			s.expireAt(time.Now(), producer)
		case <-ctx.Done():
			return
		}
	}
}

// expireAt forgets the sessions that are past their time. Nobody waits for the records: a session whose record is lost in a
// crash comes back with its full timeout, and expires again.
func (s *Server) expireAt(now time.Time, producer Producer) {
	for _, id := range s.sessions.Expire(now) {
		s.expired.Add(1)
		if producer.Err() != nil {
			producer.Reset()
		}
		if err := producer.Append(&wal.Record{Kind: wal.KindSessionExpired, Session: id}); err != nil {
			s.log.Warn("a session's end was not journaled: it comes back at the next start, for one timeout",
				"session", wal.SessionID(id).String(), "error", err)
		}
	}
}
