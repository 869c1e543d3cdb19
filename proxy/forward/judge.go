package forward

import (
	"errors"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/queue"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

// failingAlike is how many different records must fail, with no success between, for the failure to be the store's.
const failingAlike = 3

// judge acts upon the answers, in the order of the items.
func (f *Forwarder) judge() {
	r := &f.round
	f.successes += r.succeeded
	for i := range r.items {
		f.judgeItem(&r.items[i])
	}
	f.queue.Return(r.back)
}

func (f *Forwarder) judgeItem(it *item) {
	r := &f.round
	// What is not reported in the order of its session waits, even if the store has it: it is sent again, without harm.
	if f.lot.block(it.ref, it.rec.Session) {
		f.board.retry(1)
		return
	}
	if r.heldBack[it.rec.Session] {
		f.giveBack(it)
		return
	}
	switch class := store.ClassOf(it.err); {
	case it.fate == damaged:
		f.reportDamaged(it)
	case it.fate == condemned:
		t := f.lot.find(it.ref.Index)
		f.bury(it, t.verdict, t.attempts, t.diedAt)
	case class == store.ClassNone:
		f.sink.Settle(&it.rec, Delivered)
		f.board.settle(Delivered)
		f.finish(it.ref)
	case class == store.ClassPermanent:
		f.board.note(class.String(), maskedError(it.err, []item{*it}))
		f.bury(it, it.err.Error(), f.attempts(it.ref)+1, time.Now())
	case r.outage != nil:
		f.giveBack(it)
	default:
		f.board.note(class.String(), maskedError(it.err, []item{*it}))
		f.tryLater(it)
	}
}

// giveBack sends an item that nobody can be blamed for back to the queue, and what follows it in its session.
func (f *Forwarder) giveBack(it *item) {
	if !it.rec.Session.IsZero() {
		f.round.heldBack[it.rec.Session] = true
	}
	f.round.back = append(f.round.back, it.ref)
	f.board.retry(1)
}

func (f *Forwarder) attempts(ref queue.Ref) int {
	if t := f.lot.find(ref.Index); t != nil {
		return t.attempts
	}
	return 0
}

// tryLater parks an item that failed alone, or buries it when it did so too often while others succeeded.
func (f *Forwarder) tryLater(it *item) {
	t := f.lot.find(it.ref.Index)
	if t == nil {
		t = f.lot.begin(it.ref, it.rec.Session)
	}
	if t.attempts == 0 || t.seen != f.successes {
		f.suspects++
	}
	if !errors.Is(it.err, store.ErrBehind) {
		if f.round.succeeded > 0 || (t.attempts > 0 && t.seen != f.successes) {
			t.counted++
		}
		t.attempts++
		t.seen = f.successes
	}
	if t.counted >= f.cfg.Tries {
		f.bury(it, it.err.Error(), t.attempts, time.Now())
		return
	}
	f.board.retry(1)
	f.parkTrial(t)
}

func (f *Forwarder) parkTrial(t *trial) {
	f.lot.park(t, time.Now().Add(backoff(t.pauses, f.cfg.BackoffMin, f.cfg.BackoffMax)))
}

// bury hands a dead letter to the sink. When the sink cannot take it, the verdict is kept and the record waits.
func (f *Forwarder) bury(it *item, reason string, attempts int, diedAt time.Time) {
	err := f.sink.Bury(Letter{Record: it.rec, Reason: reason, Attempts: attempts, DiedAt: diedAt})
	if err == nil {
		f.board.settleDead()
		f.finish(it.ref)
		f.reportDead(it, reason, attempts)
		return
	}
	t := f.lot.find(it.ref.Index)
	if t == nil {
		t = f.lot.begin(it.ref, it.rec.Session)
	}
	t.verdict, t.attempts, t.diedAt = reason, attempts, diedAt
	f.parkTrial(t)
	f.ownFailure("ledger", err)
}

// steer lets breakers, pace and meter learn from the round.
func (f *Forwarder) steer(now time.Time, settled int, busy time.Duration) {
	r := &f.round
	if r.succeeded > 0 {
		f.suspects = 0
	}
	switch {
	case r.outage != nil && !r.stopping:
		f.open(now, r.outage, store.ClassOf(r.outage))
	case r.succeeded+r.refused > 0:
		f.closeBreaker(now)
	case r.failed > 0 && (f.suspects >= failingAlike || f.breaker.current() == HalfOpen):
		f.open(now, nil, store.ClassTransient)
	}
	if r.succeeded > 0 && r.outage == nil {
		f.pace.observe(r.sent, r.took)
	}
	if settled > 0 {
		f.meter.add(now, settled, busy)
	}
	if !r.trouble {
		f.hold.succeeded(now)
	}
}
