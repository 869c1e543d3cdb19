package main

import (
	"fmt"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/admin"
	"github.com/engram-sidecar/engram-sidecar/proxy/forward"
	"github.com/engram-sidecar/engram-sidecar/proxy/store/embedded"
	"github.com/engram-sidecar/engram-sidecar/recovery"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// recovering is the status while there is nothing to ask yet.
func (s *sidecar) recovering() admin.Status {
	kind, address := s.cfg.StoreKind()
	return admin.Status{
		State: admin.StateRecovering, Build: build(), StartedAt: s.started.UTC(), Uptime: time.Since(s.started).Seconds(),
		Listen: addressOf(s.grpc), Admin: addressOf(s.http), DataDir: s.cfg.DataDir,
		Lanes: []admin.Lane{}, Store: admin.Store{Kind: kind, Address: address, Breaker: "closed"},
		Edge: admin.Edge{Refused: map[string]uint64{}}, Recovery: admin.Recovery{Damages: []admin.Damage{}},
	}
}

// status asks all parts.
func (s *sidecar) status() admin.Status {
	st := s.recovering()
	st.State = admin.StateServing
	if s.edge.Draining() {
		st.State = admin.StateDraining
	}
	st.Balance = s.balance()
	edge := s.edge.Stats()
	st.Edge = admin.Edge{
		Sessions: edge.Sessions, Streams: edge.Streams, Conns: edge.Connections, Expired: edge.Expired, Panics: edge.Panics,
		Cancelled: edge.Cancelled, Slowed: edge.Slowed, Paced: edge.Paced,
		Acked: s.metrics.AckedTotal(), Refused: s.metrics.RefusedTotals(),
	}
	st.Lanes = s.lanes()
	count, bytes, limits := s.state.Ledger.LetterStats()
	st.Letters = admin.Letters{Count: count, Bytes: bytes, MaxCount: limits.Count, MaxBytes: limits.Bytes}
	st.Journal = s.journal()
	st.Store = s.storeStatus(st.Store)
	st.Recovery = recovered(&s.state.Report)
	return st
}

func (s *sidecar) balance() admin.Balance {
	b := s.state.Ledger.Balance()
	return admin.Balance{
		Accepted: b.Accepted, Delivered: b.Delivered, Pending: b.Pending, Dead: b.Dead, Dropped: b.Dropped, Damaged: b.Damaged,
	}
}

func (s *sidecar) lanes() []admin.Lane {
	depths := s.backlog.queue.Depths()
	lanes := make([]admin.Lane, 0, len(depths))
	for lane := wal.LaneHigh; lane <= wal.LaneLow; lane++ {
		i := laneOf(lane)
		lanes = append(lanes, admin.Lane{Name: lane.String(), Depth: depths[i], Capacity: s.backlog.limits[i]})
	}
	return lanes
}

func (s *sidecar) journal() admin.Journal {
	j := s.state.Journal.Stats()
	out := admin.Journal{
		Generations: j.Generations, Bytes: uint64(j.Bytes), Quota: uint64(j.Quota), //nolint:gosec // sizes
		Pressure: j.Pressure, LastIndex: j.DurableIndex, Commits: j.Syncs,
	}
	if j.Err != nil {
		out.Failure = j.Err.Error()
	}
	return out
}

func (s *sidecar) storeStatus(out admin.Store) admin.Store {
	f := s.forward.Stats()
	out.Up, out.Breaker = f.Breaker.State == forward.Closed, f.Breaker.State.String()
	out.Retries, out.Rate, out.LastError = f.Retried, f.Rate, f.LastError.Text
	out.Since, out.InFlight, out.Parked, out.Buried = f.Breaker.Since.UTC(), f.InFlight, f.Parked, f.Dead
	if !f.Oldest.IsZero() {
		out.Oldest = max(time.Since(f.Oldest).Seconds(), 0)
	}
	if e, ok := s.store.(*embedded.Store); ok {
		st := e.Stats()
		out.Stored, out.Rows, out.Limit, out.Near = uint64(st.Live), uint64(st.Rows), uint64(st.Limit), st.Near //nolint:gosec // counts
	}
	return out
}

func recovered(r *recovery.Report) admin.Recovery {
	out := admin.Recovery{
		Duration: r.Took.Seconds(), Sessions: r.Sessions, Pending: r.Balance.Pending, Rebuilt: r.Ledger != nil && !r.Fresh, Lost: r.Lost,
		Damages: []admin.Damage{},
	}
	if r.Torn != nil {
		out.TornTail = uint64(max(r.Torn.Length, 0))
	}
	for _, d := range r.Damages {
		damage := admin.Damage{Place: fmt.Sprintf("%s at %d", d.File, d.Offset), First: d.Sequence, Last: d.Sequence, Reason: d.Reason}
		if d.First != 0 {
			damage.Place += fmt.Sprintf(", index %d to %d", d.First, d.Last)
		}
		if !d.Session.IsZero() {
			damage.Session = d.Session.String()
		}
		out.Damages = append(out.Damages, damage)
	}
	return out
}
