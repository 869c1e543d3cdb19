package main

import (
	"github.com/engram-sidecar/engram-sidecar/cmd/engram-sidecar/internal/config"
	"github.com/engram-sidecar/engram-sidecar/proxy"
	"github.com/engram-sidecar/engram-sidecar/proxy/admin"
	"github.com/engram-sidecar/engram-sidecar/proxy/forward"
	"github.com/engram-sidecar/engram-sidecar/proxy/session"
	"github.com/engram-sidecar/engram-sidecar/wal"
	"github.com/engram-sidecar/engram-sidecar/wal/ledger"
)

// What one part offers and another wants, where the two only differ in shape. Those that fit as they are say so here.
var (
	_ forward.Sink     = sink{}
	_ forward.Source   = (*wal.Journal)(nil)
	_ proxy.Settlement = (*ledger.Ledger)(nil)
	_ proxy.Reader     = (*wal.Journal)(nil)
	_ proxy.Observer   = (*admin.Metrics)(nil)
)

// sink is the ledger as the forwarder sees it, and the edge's news beside it.
type sink struct {
	*ledger.Ledger
	news *proxy.News
}

// Settle implements forward.Sink. That a record was settled before is nothing to the ledger: an answer may come twice. The
// news come first, so that a stream that waits until the ledger has settled all has been told of each.
func (s sink) Settle(r *wal.Record, o forward.Outcome) {
	fate, reason := wal.Delivered, ""
	if o == forward.Damaged {
		fate, reason = wal.Damaged, "it cannot be read from the journal any more"
	}
	s.news.Settled(r, fate, reason)
	s.Ledger.Settle(r.Index, r.Session, fate)
}

// Bury implements forward.Sink.
func (s sink) Bury(l forward.Letter) error {
	if err := s.Ledger.Bury(ledger.Letter{Record: l.Record, Reason: l.Reason, Attempts: l.Attempts, DiedAt: l.DiedAt}); err != nil {
		return err
	}
	s.news.Settled(&l.Record, wal.Dead, l.Reason)
	return nil
}

// letterLimits is what bounds the dead letters.
func letterLimits(cfg config.Config) ledger.Limits {
	return ledger.Limits{Count: cfg.DeadLetters, Bytes: int64(cfg.DeadLetterBytes)} //nolint:gosec // parsed to be below
}

// restored shows the sessions that recovery found as the edge wants them.
func restored(sessions []ledger.Session) []session.Snapshot {
	out := make([]session.Snapshot, len(sessions))
	for i, s := range sessions {
		out[i] = session.Snapshot{
			ID: session.ID(s.ID), Space: s.Space, Lane: uint8(s.Lane), Last: s.Last, Closed: s.Closed, ClosedAt: s.ClosedAt,
		}
	}
	return out
}
