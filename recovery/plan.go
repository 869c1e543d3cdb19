package recovery

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/engram-sidecar/engram-sidecar/wal"
	"github.com/engram-sidecar/engram-sidecar/wal/ledger"
)

// plan is what a read-only look at a data directory found, and what has to be done about it.
type plan struct {
	dataDir    string
	journalDir string
	format     wal.Format
	rewrite    bool // the FORMAT file has to be written
	log        hclog.Logger
	looking    bool  // nothing will rest on what is found
	view       *view // what to read, where a running sidecar goes on writing; else nil
	ahead      *ahead

	found   []uint64 // generations on disk, ascending
	base    foundation
	cut     *tornTail
	remove  []uint64       // generations that are released, or hold nothing that counts
	scanned []*wal.Scanned // those that live and hold a record, ascending
	first   map[uint64]start
	lost    []uint64 // those that must be there, and of which nothing can be read; ascending

	missing uint64 // accepted before the newest good head, and neither read nor counted as damaged so far
	top     uint64 // the highest index that is known to have been
	seen    seen
	began   time.Time

	builder *ledger.Builder
	runs    []Run
	filter  bool // late fates were seen: runs may hold what is not pending any more
	report  Report
}

// newPlan reads everything and changes nothing.
func newPlan(dataDir string, log hclog.Logger) (*plan, error) {
	p := emptyPlan(dataDir, log)
	if err := p.make(); err != nil {
		return nil, err
	}
	return p, nil
}

func emptyPlan(dataDir string, log hclog.Logger) *plan {
	return &plan{
		dataDir: dataDir, journalDir: JournalDir(dataDir), log: log,
		first: map[uint64]start{}, seen: newSeen(), began: time.Now(),
	}
}

func (p *plan) make() (err error) {
	if err := refuseUnfinished(p.dataDir); err != nil {
		return err
	}
	if p.found, err = p.list(); err != nil {
		return err
	}
	if p.format, p.report.Fresh, p.rewrite, err = identify(p.dataDir, p.found); err != nil {
		return err
	}
	if p.builder, err = p.loadLedger(); err != nil {
		return err
	}
	if lost := p.builder.Lost(); lost != nil && (!p.report.Fresh || errors.Is(lost, ledger.ErrDamaged)) {
		p.report.Ledger = lost
	}
	if err := p.findFoundation(); err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	if err := p.read(); err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	p.findDamage()
	p.builder.Reconcile()
	if err := p.attribute(); err != nil {
		return fmt.Errorf("read the journal: %w", err)
	}
	p.sum()
	return nil
}

// read scans the living generations in order and builds the account.
func (p *plan) read() error {
	p.builder.Released(p.base.released, p.base.from)
	here := map[uint64]bool{}
	if p.view == nil {
		alive := slices.DeleteFunc(slices.Clone(p.found), func(n uint64) bool { return !p.base.live[n] })
		p.ahead = readAhead(alive, func(b *wal.ScanBuffer, n uint64) (*wal.Scanned, []wal.Record, error) {
			return b.Scan(p.journalDir, p.format.Journal, n)
		})
		defer func() { p.ahead.stop(); p.ahead = nil }()
	}
	for _, n := range p.found {
		here[n] = true
		if !p.base.live[n] {
			p.remove = append(p.remove, n)
			continue
		}
		if err := p.readGeneration(n); err != nil {
			return err
		}
	}
	for n := range p.base.live {
		if !here[n] {
			p.lost = append(p.lost, n)
		}
	}
	return nil
}

// errHeadless ends a scan whose first whole record is no head.
var errHeadless = errors.New("the head is damaged")

func (p *plan) readGeneration(n uint64) error {
	until := ^uint64(0)
	if p.cut != nil && p.cut.number == n {
		until = p.cut.until
	}
	first := true
	apply := func(r *wal.Record) error {
		if first && r.Kind != wal.KindHead {
			return errHeadless
		}
		first = false
		if r.Index > until {
			return nil
		}
		return p.apply(n, r)
	}
	s, taken, err := p.ahead.take(n, apply)
	if !taken {
		s, err = p.scan(n, apply)
	}
	if errors.Is(err, errHeadless) {
		if err = p.begin(n); err != nil {
			return err
		}
		first = false
		s, err = p.scan(n, apply)
	}
	switch {
	case err != nil:
		return err
	case s.Base == 0:
		p.lost = append(p.lost, n)
		return nil
	case until != ^uint64(0):
		s.Trim(p.cut.at)
	}
	p.scanned = append(p.scanned, s)
	return nil
}

// apply takes one whole record in.
func (p *plan) apply(n uint64, r *wal.Record) error {
	err := p.builder.Apply(n, r)
	if errors.Is(err, wal.ErrDamaged) { // a frame that is whole and says what no build has written: told, and passed over
		p.report.Damages = append(p.report.Damages, &wal.DamageError{
			File: wal.SegmentPath(p.journalDir, n), First: r.Index, Last: r.Index,
			Session: r.Session, Sequence: r.Sequence, Space: r.Space, Kind: r.Kind, Reason: err.Error(),
		})
		return nil
	}
	if err != nil {
		return err
	}
	p.seen.note(r)
	switch r.Kind {
	case wal.KindWrite:
		if p.builder.Pending(r.Index) {
			p.addRun(r)
		}
	case wal.KindSettled, wal.KindCarriedLetter:
		p.filter = true
	}
	return nil
}

// attribute finds out whose those writes were whose fate was learned without it.
func (p *plan) attribute() error {
	for n, indexes := range p.builder.Strays() {
		wanted := map[uint64]bool{}
		for _, i := range indexes {
			wanted[i] = true
		}
		_, err := p.scan(n, func(r *wal.Record) error {
			if wanted[r.Index] {
				p.builder.Attribute(r.Session)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sum fills in what the report counts.
func (p *plan) sum() {
	r := &p.report
	r.Balance, r.Generations, r.Removed = p.builder.Balance(), len(p.scanned), len(p.remove)
	for _, s := range p.scanned {
		r.Bytes += s.Size
		r.Records += s.Records
	}
	known := p.base.released.Damaged
	if p.builder.Lost() == nil {
		known = p.builder.Past().Total.Damaged
	}
	if r.Balance.Damaged > known {
		r.Lost = r.Balance.Damaged - known
	}
}

// position is where the journal goes on: above every index, batch and generation that ever may have been.
func (p *plan) position() wal.Position {
	past := p.builder.Past()
	pos := wal.Position{
		Journal: p.format.Journal, Generations: p.scanned, Generation: past.Newest + 1,
		Index: max(p.top, past.Durable) + 1, Batch: 1,
		Accepted: p.report.Balance.Accepted, Released: p.builder.Gone(),
	}
	for _, s := range p.scanned {
		pos.Index, pos.Batch = max(pos.Index, s.LastIndex()+1), max(pos.Batch, s.Last+1)
	}
	if n := len(p.found); n > 0 {
		pos.Generation = max(pos.Generation, p.found[n-1]+1)
	}
	for n := range p.base.live {
		pos.Generation = max(pos.Generation, n+1)
	}
	return pos
}

func (p *plan) addRun(r *wal.Record) {
	at := time.Unix(0, r.Time)
	if n := len(p.runs); n > 0 {
		last := &p.runs[n-1]
		if last.Lane == r.Lane && last.Last+1 == r.Index && at.Sub(last.At) < time.Second {
			last.Last = r.Index
			return
		}
	}
	p.runs = append(p.runs, Run{First: r.Index, Last: r.Index, Lane: r.Lane, At: at})
}

// pending is what the queue begins with.
func (p *plan) pending() []Run {
	if !p.filter {
		return p.runs
	}
	var out []Run
	for _, run := range p.runs {
		open := false
		for i := run.First; i <= run.Last; i++ {
			switch {
			case !p.builder.Pending(i):
				open = false
			case open:
				out[len(out)-1].Last = i
			default:
				out = append(out, Run{First: i, Last: i, Lane: run.Lane, At: run.At})
				open = true
			}
		}
	}
	return out
}
