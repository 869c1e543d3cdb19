// Package actor runs the parts of a process and ends them in order.
//
// # What it promises
//
// Parts begin in the order they are given and end in the reverse order, each after the one begun behind it has ended: what
// others rely on goes last. The first part that ends by itself ends them all. When Wait returns, nothing that ended in time
// is left running, and what did not end in time is named.
//
// # What it assumes
//
// A part returns soon after its context ends. A Group belongs to one goroutine, which calls Wait once, last of all.
//
// # Goroutines and crashes
//
// Each part has one goroutine; Wait waits for it. Nothing is kept on disk: a crash means nothing here.
package actor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Group is the parts of one process. The zero value is an empty group.
type Group struct {
	parts []*part
	ended chan *part // receives each part that has returned; room for all
}

type part struct {
	name   string
	cancel context.CancelFunc // nil for a closer, which has nothing running
	close  func() error
	done   chan struct{}
	err    error // what it returned; read only when done is closed
}

// maxParts bounds a group, so that no part ever waits to say that it has ended.
const maxParts = 32

// Go begins a part. Its context ends when it is its turn to stop.
func (g *Group) Go(name string, run func(context.Context) error) {
	if g.ended == nil {
		g.ended = make(chan *part, maxParts)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &part{name: name, cancel: cancel, done: make(chan struct{})}
	g.parts = append(g.parts, p)
	go func() { // ends when its context does; Wait waits for it
		p.err = run(ctx)
		close(p.done)
		g.ended <- p
	}()
}

// Defer has end called when all parts begun later have ended.
func (g *Group) Defer(name string, end func() error) {
	g.parts = append(g.parts, &part{name: name, close: end, done: make(chan struct{})})
}

// Wait returns when ctx ends or a part ends by itself, after it has ended all parts. grace says how long that may take in
// all, given why it begins: nil when ctx ended. The error is that reason, joined with whatever went wrong at the end.
func (g *Group) Wait(ctx context.Context, grace func(why error) time.Duration) error {
	var why error
	select {
	case <-ctx.Done():
	case p := <-g.ended:
		why = p.err
		if why == nil {
			why = fmt.Errorf("%s ended by itself", p.name)
		}
	}
	return errors.Join(why, g.Stop(grace(why), why))
}

// least is what each part gets to end in, even when the grace is over: what comes late in the order writes down what is
// confirmed.
const least = 250 * time.Millisecond

// Stop ends all parts, newest first, within grace, or little more where parts hang. An error that known wraps is left out:
// it is what began the stop.
func (g *Group) Stop(grace time.Duration, known error) error {
	deadline := time.Now().Add(grace)
	var errs []error
	for _, p := range slices.Backward(g.parts) {
		p.stop()
		select {
		case <-p.done:
			if p.err != nil && !errors.Is(known, p.err) {
				errs = append(errs, fmt.Errorf("stopping %s: %w", p.name, p.err))
			}
		case <-time.After(max(time.Until(deadline), least)):
			errs = append(errs, fmt.Errorf("stopping %s: it has not ended within %v: what it had left is on disk", p.name, grace))
		}
	}
	g.parts = nil
	return errors.Join(errs...)
}

// stop tells the part to end. A closer runs on a goroutine of its own, which ends with it: a disk that hangs must not keep
// the process from its deadline.
func (p *part) stop() {
	if p.cancel != nil {
		p.cancel()
		return
	}
	go func() { // ends with close; Stop waits for it
		p.err = p.close()
		close(p.done)
	}()
}
