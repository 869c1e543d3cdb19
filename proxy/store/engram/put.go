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
	d := store.NewDelivery(batch, newMessage)
	select {
	case <-s.turn:
		defer func() { s.turn <- struct{}{} }()
		s.deliver(ctx, d)
	case <-s.closed:
		d.GiveUp(s.classify(gaveUp(errClosed)))
	case <-ctx.Done():
		d.GiveUp(s.classify(gaveUp(context.Cause(ctx))))
	}
	return d.Answers()
}

// deliver delivers by stream, and whatever the server refuses, and what follows it directly, one by one.
func (s *Store) deliver(ctx context.Context, d *store.Delivery[message]) {
	alone := false
	for len(d.Items) > 0 {
		if !alone {
			answered, err := s.exchange(ctx, d.Items)
			d.Done(answered)
			if err = s.classify(err); store.ClassOf(err) == store.ClassUnavailable {
				d.GiveUp(err)
				return
			}
			if len(d.Items) == 0 {
				return
			}
		}
		err := s.remember(ctx, d.First(), &d.Items[0])
		d.Answer(err)
		if class := store.ClassOf(err); class == store.ClassDenied || class == store.ClassUnavailable {
			d.GiveUp(err)
			return
		}
		alone = err != nil
	}
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
