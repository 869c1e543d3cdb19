package forward

import (
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

// sparse lets through one line in a while, and counts those between.
type sparse struct {
	next    time.Time
	skipped int
}

func (s *sparse) allow(now time.Time, every time.Duration) (skipped int, ok bool) {
	if now.Before(s.next) {
		s.skipped++
		return 0, false
	}
	skipped = s.skipped
	s.next, s.skipped = now.Add(every), 0
	return skipped, true
}

// logged shortens what a store says for the log; the dead letter has it whole.
func logged(text string) string {
	const most = 300
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}

// reportDamaged settles what the journal cannot read back.
func (f *Forwarder) reportDamaged(it *item) {
	f.log.Error("a waiting record is damaged in the journal and cannot be delivered", "index", it.ref.Index,
		"session", it.rec.Session.String(), "sequence", it.rec.Sequence, "error", it.err)
	f.board.note("journal", it.err)
	f.sink.Settle(&it.rec, Damaged)
	f.board.settle(Damaged)
	f.finish(it.ref)
}

// reportDead logs a dead letter, one line a second: a store may refuse thousands.
func (f *Forwarder) reportDead(it *item, reason string, attempts int) {
	skipped, ok := f.deaths.allow(time.Now(), time.Second)
	if !ok {
		return
	}
	f.log.Warn("the store refused a record for good: kept as a dead letter", "index", it.ref.Index, "session", it.rec.Session.String(),
		"sequence", it.rec.Sequence, "space", it.rec.Space, "attempts", attempts, "reason", masked(reason, []item{*it}), "not_logged", skipped)
}

// ownFailure holds everything for a back-off: the journal cannot be read, or the ledger cannot be written.
func (f *Forwarder) ownFailure(whose string, err error) {
	now := time.Now()
	f.board.note(whose, err)
	f.round.trouble = true
	f.hold.failed(now, whose)
	if skipped, ok := f.troubles.allow(now, 10*time.Second); ok {
		f.log.Error("delivery is held up on this side and goes on by itself", "by", whose, "error", err, "not_logged", skipped)
	}
}

// open opens the breaker. err is nil where the records' own errors were noted.
func (f *Forwarder) open(now time.Time, err error, class store.Class) {
	if class == store.ClassTransient && err != nil {
		class = store.ClassUnavailable // it came when the time of the Put was over
	}
	if err != nil {
		f.board.note(class.String(), maskedError(err, f.round.items))
	}
	if !f.breaker.failed(now, class.String()) {
		return
	}
	if skipped, ok := f.openings.allow(now, time.Second); ok {
		f.log.Warn("the store does not take records; they wait in the journal", "class", class.String(),
			"error", logged(f.board.lastError().Text), "not_logged", skipped)
	}
}

func (f *Forwarder) closeBreaker(now time.Time) {
	if outage, closed := f.breaker.succeeded(now); closed {
		f.log.Info("the store takes records again", "after", outage.String())
	}
}
