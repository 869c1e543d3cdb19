package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Protocol is what the client speaks.
type Protocol string

// The protocols.
const (
	ProtocolObserve  Protocol = "observe"  // ObserveStream: an init, then observations and acks
	ProtocolRemember Protocol = "remember" // StreamingRemember: requests and responses
)

func (p Protocol) method() string {
	if p == ProtocolRemember {
		return "/engram.v1.EngramService/StreamingRemember"
	}
	return "/engram.v1.EngramService/ObserveStream"
}

// The phases of a load.
const (
	warming int32 = iota
	counting
	ending
)

// driver is the client's process: it puts a load on an address.
type driver struct {
	load   Load
	kind   Protocol
	phase  atomic.Int32
	acked  atomic.Uint64 // while counting
	began  time.Time
	stop   chan struct{} // closed when no more is to be sent
	shares []*histogram
	tell   func(event)
}

// measured is what a driver, or a part that drives itself, has counted.
type measured struct {
	Acked     uint64  `json:"acked"`   // while it counted
	Total     uint64  `json:"total"`   // from the first to the last
	Seconds   float64 `json:"seconds"` // for which it counted
	Histogram []byte  `json:"histogram"`
}

// drive puts the load on an address and tells how it went. It returns when everything sent was acked.
func drive(ctx context.Context, address string, kind Protocol, load Load, tell func(event)) error {
	d := &driver{load: load, kind: kind, stop: make(chan struct{}), tell: tell}
	for range min(load.Streams, 16) {
		d.shares = append(d.shares, newHistogram())
	}
	conns, err := dial(address, load.connections())
	if err != nil {
		return err
	}
	defer func() {
		for _, c := range conns {
			_ = c.Close() // all is done, or has failed
		}
	}()
	streams, err := d.open(ctx, conns)
	if err != nil {
		return err
	}
	return d.run(ctx, streams)
}

func dial(address string, n int) ([]*grpc.ClientConn, error) {
	conns := make([]*grpc.ClientConn, n)
	for i := range conns {
		c, err := grpc.NewClient("passthrough:///"+address,
			grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry(),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{}), grpc.MaxCallRecvMsgSize(1<<20)))
		if err != nil {
			return nil, fmt.Errorf("dial %s: %w", address, err)
		}
		conns[i] = c
	}
	return conns, nil
}

// open begins all streams, a few at a time.
func (d *driver) open(ctx context.Context, conns []*grpc.ClientConn) ([]*stream, error) {
	streams := make([]*stream, d.load.Streams)
	errs := make([]error, len(streams))
	shared := sharedParts(d.kind, &d.load)
	turns := make(chan struct{}, 16)
	var opening sync.WaitGroup
	for i := range streams {
		turns <- struct{}{}
		opening.Go(func() {
			defer func() { <-turns }()
			streams[i], errs[i] = openStream(ctx, d, conns[i%len(conns)], i, shared)
		})
	}
	opening.Wait()
	return streams, errors.Join(errs...)
}

// run lets the streams work, counts for a while, and waits until all is acked.
func (d *driver) run(ctx context.Context, streams []*stream) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d.began = time.Now()
	if d.load.Count > 0 { // the first observation counts, and is on its way before countAll looks
		d.phase.Store(counting)
	}
	var working sync.WaitGroup
	for _, s := range streams {
		working.Go(func() {
			if err := s.receiveAll(); err != nil {
				cancel(err)
			}
		})
		working.Go(func() {
			if err := s.sendAll(); err != nil {
				cancel(err)
			}
		})
	}
	done := make(chan struct{})
	go func() { // ends when all streams have; waited for below
		working.Wait()
		close(done)
	}()
	seconds := d.count(ctx, done)
	close(d.stop)
	select {
	case <-done:
	case <-ctx.Done():
		for _, s := range streams {
			s.cancel()
		}
		<-done
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return d.result(streams, seconds)
}

// count lets the load warm up, counts, and returns for how long it did.
func (d *driver) count(ctx context.Context, done <-chan struct{}) float64 {
	if d.load.Count > 0 {
		return d.countAll(ctx, done)
	}
	wait(ctx, d.load.Warmup)
	d.phase.Store(counting)
	began := time.Now()
	d.tell(event{Begun: true})
	for left := d.load.Duration; left > 0 && ctx.Err() == nil; left = d.load.Duration - time.Since(began) {
		wait(ctx, min(left, tellEvery))
		d.tell(event{Acked: d.acked.Load()})
	}
	d.phase.Store(ending)
	seconds := time.Since(began).Seconds()
	d.tell(event{Ended: true})
	return seconds
}

// countAll counts from the first observation to the last.
func (d *driver) countAll(ctx context.Context, done <-chan struct{}) float64 {
	d.tell(event{Begun: true})
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		select {
		case <-done:
		case <-ctx.Done():
		case <-tick.C:
			d.tell(event{Acked: d.acked.Load()})
			continue
		}
		d.tell(event{Ended: true})
		return time.Since(d.began).Seconds()
	}
}

// tellEvery is how often a part says how far it has come.
const tellEvery = 250 * time.Millisecond

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (d *driver) result(streams []*stream, seconds float64) error {
	m := measured{Acked: d.acked.Load(), Seconds: seconds}
	for _, s := range streams {
		if s.sent.Load() != s.acked.Load() {
			return fmt.Errorf("stream %d: %d observations were sent and %d acked", s.number, s.sent.Load(), s.acked.Load())
		}
		m.Total += s.acked.Load()
	}
	var err error
	if m.Histogram, err = merged(d.shares); err != nil {
		return err
	}
	d.tell(event{Result: &m})
	return nil
}
