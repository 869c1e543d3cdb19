package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/admin"
	"github.com/engram-sidecar/engram-sidecar/proxy/session"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// operator does what operators ask of a running sidecar.
type operator struct {
	s       *sidecar
	emptied chan struct{} // closed when a drain that was to end the process has come to its end

	mu   sync.Mutex
	stop bool
}

var _ admin.Operator = (*operator)(nil)

// Sessions implements admin.Operator.
func (o *operator) Sessions() []admin.Session {
	known := o.s.edge.Sessions()
	out := make([]admin.Session, len(known))
	for i, k := range known {
		pending, dead := o.s.state.Ledger.Remaining(k.ID)
		out[i] = admin.Session{
			ID: wal.SessionID(k.ID).String(), Space: k.Space, Priority: wal.Lane(k.Lane).String(), State: k.State.String(),
			Connected: k.Connected, Waiting: k.Waiting, Accepted: k.Accepted, Durable: k.Durable, Pending: pending, Dead: dead,
		}
	}
	slices.SortFunc(out, func(a, b admin.Session) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// CloseSession implements admin.Operator.
func (o *operator) CloseSession(ctx context.Context, id string) (last uint64, ok bool, err error) {
	parsed, err := wal.ParseSessionID(id)
	if err != nil {
		return 0, false, err
	}
	last, err = o.s.edge.CloseSession(ctx, session.ID(parsed))
	return last, !errors.Is(err, session.ErrNotFound) && !errors.Is(err, session.ErrClosed), err
}

// Drain implements admin.Operator.
func (o *operator) Drain(on, stop bool) admin.Drained {
	o.mu.Lock()
	o.stop = on && stop
	o.mu.Unlock()
	if on != o.s.edge.Draining() {
		o.s.log.Info("draining", "on", on, "stop_when_empty", on && stop)
	}
	o.s.edge.SetDraining(on)
	if on {
		o.s.admin.SetNotReady(string(admin.StateDraining))
	} else {
		o.s.admin.SetReady()
	}
	return o.Drained()
}

// Drained implements admin.Operator.
func (o *operator) Drained() admin.Drained {
	o.mu.Lock()
	stop := o.stop
	o.mu.Unlock()
	d := admin.Drained{
		Draining: o.s.edge.Draining(), Stop: stop, Streams: o.s.edge.Stats().Streams, Pending: o.s.state.Ledger.Balance().Pending,
	}
	d.Empty = d.Streams == 0 && d.Pending == 0
	return d
}

// watch ends the process when a drain that was to do so has come to its end.
func (o *operator) watch(ctx context.Context) error {
	every := time.NewTicker(100 * time.Millisecond)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
			if d := o.Drained(); d.Draining && d.Stop && d.Empty {
				o.s.log.Info("drained: nothing is connected, nothing is pending")
				close(o.emptied)
				<-ctx.Done()
				return nil
			}
		}
	}
}
