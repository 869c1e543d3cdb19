package engram

import (
	"context"
	"fmt"

	"google.golang.org/grpc/status"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// Put sends the batch in its order and returns an error for each record, nil for those that the server has confirmed.
// See the package comment for how refusals are told apart.
func (s *Store) Put(ctx context.Context, batch []wal.Record) []error {
	d := delivery{store: s, batch: batch, errs: make([]error, len(batch))}
	d.prepare()
	select {
	case <-s.turn:
		defer func() { s.turn <- struct{}{} }()
		d.run(ctx)
	case <-s.closed:
		d.giveUp(s.classify(gaveUp(errClosed)))
	case <-ctx.Done():
		d.giveUp(s.classify(gaveUp(context.Cause(ctx))))
	}
	return d.errs
}

// delivery is one Put: the records not yet answered, in order, and the errors of the others.
type delivery struct {
	store *Store
	batch []wal.Record
	errs  []error

	todo     []int // places in batch
	messages []message
}

// prepare says how each record travels, and leaves out what cannot.
func (d *delivery) prepare() {
	d.todo, d.messages = make([]int, 0, len(d.batch)), make([]message, 0, len(d.batch))
	for i := range d.batch {
		m, err := newMessage(&d.batch[i])
		if err != nil {
			d.errs[i] = store.Permanent(err)
			continue
		}
		d.todo, d.messages = append(d.todo, i), append(d.messages, m)
	}
}

// run delivers by stream, and whatever the server refuses, and what follows it directly, one by one.
func (d *delivery) run(ctx context.Context) {
	alone := false
	for len(d.todo) > 0 {
		if !alone {
			answered, err := d.store.exchange(ctx, d.messages)
			d.done(answered)
			if err = d.store.classify(err); store.ClassOf(err) == store.ClassUnavailable {
				d.giveUp(err)
				return
			}
			if len(d.todo) == 0 {
				return
			}
		}
		i := d.todo[0]
		err := d.store.remember(ctx, &d.batch[i], &d.messages[0])
		d.errs[i] = err
		d.done(1)
		switch store.ClassOf(err) {
		case store.ClassTransient:
			d.holdBack(d.batch[i].Session)
		case store.ClassDenied, store.ClassUnavailable:
			d.giveUp(err)
			return
		}
		alone = err != nil
	}
}

// done takes the first n off the list.
func (d *delivery) done(n int) { d.todo, d.messages = d.todo[n:], d.messages[n:] }

// holdBack takes off the list what must not overtake a record that may still be stored.
func (d *delivery) holdBack(session wal.SessionID) {
	if session.IsZero() {
		return
	}
	kept := 0
	for n, i := range d.todo {
		if d.batch[i].Session == session {
			d.errs[i] = store.ErrBehind
			continue
		}
		d.todo[kept], d.messages[kept] = i, d.messages[n]
		kept++
	}
	d.todo, d.messages = d.todo[:kept], d.messages[:kept]
}

// giveUp answers all that is left with one reason.
func (d *delivery) giveUp(err error) {
	for _, i := range d.todo {
		d.errs[i] = err
	}
	d.todo = nil
}

// exchange sends messages by stream, over the one that is open or else a new one, and returns how many were answered. An
// error says why not all were. The caller has the turn.
func (s *Store) exchange(ctx context.Context, messages []message) (int, error) {
	if s.stream != nil && !s.stream.alive() {
		s.log.Debug("stream ended while idle", "code", status.Code(s.stream.err).String())
		s.stream.close(nil)
		s.stream = nil
	}
	if s.stream == nil {
		opened, err := openStream(ctx, s.conn, s.cfg.Timeout)
		if err != nil {
			return 0, err
		}
		s.stream = opened
	}
	answered, err := s.stream.exchange(ctx, messages, s.cfg.Timeout)
	if err != nil {
		s.log.Debug("stream ended", "answered", answered, "unanswered", len(messages)-answered,
			"code", status.Code(err).String()) // not its words: they may quote what was observed
		s.stream = nil
	}
	return answered, err
}

// remember sends one message by a call of its own, whose answer is about nothing else. The error is classified. A server
// says INTERNAL both when it is in trouble and when it cannot decode the request; which of the two, the record tells.
func (s *Store) remember(ctx context.Context, r *wal.Record, m *message) error {
	err := s.classify(s.call(ctx, engramv1.EngramService_Remember_FullMethodName, m, nil))
	if store.ClassOf(err) == store.ClassTransient {
		if broken := checkEpisode(r); broken != nil {
			return store.Permanent(fmt.Errorf("%w; %w", broken, err))
		}
	}
	return err
}
