package recovery

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/engram-sidecar/engram-sidecar/wal"
	"github.com/engram-sidecar/engram-sidecar/wal/ledger"
)

// ErrNoDataDir means that a directory holds nothing that a sidecar has written.
var ErrNoDataDir = errors.New("no data directory of a sidecar")

// Inspection is what a look at a data directory has found. Its methods are for one goroutine.
type Inspection struct {
	Report // what a start would find now; Took is how long the look took

	// Holder is the process that has the directory; "" where it is stopped. While it has, the journal alone is read, as it
	// was at one moment: what it cannot tell to be delivered counts as pending, damage is rather told too large than too
	// small, and a torn tail is a batch that is being written.
	Holder   string
	Format   wal.Format
	Segments []Segment // those that live, ascending

	plan *plan
}

// Segment is one generation on disk.
type Segment struct {
	Number      uint64
	Bytes       int64
	First, Last uint64 // indexes of whole records, 0 where there is none
	Records     int    // whole ones
	Damages     int    // places that cannot be read
}

// Inspect looks at a data directory, be it stopped or in use, and changes nothing, to the byte. It keeps no lock, so that a
// sidecar can start and stop meanwhile. The error wraps ErrNoDataDir, ErrUnfinished or wal.ErrNewerFormat, or is the file
// system's. The caller closes what it gets.
func Inspect(dataDir string) (*Inspection, error) {
	if err := CheckDataDir(dataDir); err != nil {
		return nil, err
	}
	for {
		holder, err := wal.LockHolder(dataDir)
		if err != nil {
			return nil, err
		}
		i, err := look(dataDir, holder)
		now, lockErr := wal.LockHolder(dataDir)
		if now == holder && lockErr == nil {
			return i, err
		}
		if i != nil { // it was started or stopped meanwhile: what was read belongs to neither
			err = i.Close()
		}
		if lockErr != nil {
			return nil, errors.Join(lockErr, err)
		}
	}
}

// CheckDataDir tells a mistyped path from an empty journal. The error wraps ErrNoDataDir, or is the file system's.
func CheckDataDir(dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("%w: %w: name another with --data-dir", ErrNoDataDir, err)
	}
	numbers, err := listGenerations(JournalDir(dir))
	if err != nil || len(numbers) > 0 {
		return err
	}
	if _, err := wal.ReadFormat(dir); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %s has neither a FORMAT file nor a journal: name another with --data-dir", ErrNoDataDir, dir)
	}
	return nil
}

func look(dataDir, holder string) (*Inspection, error) {
	p := emptyPlan(dataDir, hclog.NewNullLogger())
	p.looking = true
	var err error
	if holder != "" {
		if p.view, err = openView(p.journalDir); err != nil {
			return nil, err
		}
	}
	i := &Inspection{Holder: holder, plan: p}
	if err := p.make(); err != nil {
		return nil, errors.Join(err, i.Close())
	}
	if p.builder.WasUnread() {
		p.report.Ledger = nil
	}
	i.Report, i.Format = p.report, p.format
	i.Sessions, i.Took = len(p.builder.Sessions()), time.Since(p.began)
	for _, s := range p.scanned {
		i.Segments = append(i.Segments, Segment{
			Number: s.Number, Bytes: s.Size, First: s.Base, Last: s.LastIndex(), Records: s.Records, Damages: len(s.Damages),
		})
	}
	return i, nil
}

// list returns the generations there are to read.
func (p *plan) list() ([]uint64, error) {
	if p.view != nil {
		return p.view.numbers(), nil
	}
	return listGenerations(p.journalDir)
}

func (p *plan) loadLedger() (*ledger.Builder, error) {
	if p.view != nil {
		return ledger.Unread(p.format.Journal), nil
	}
	return ledger.Load(p.dataDir, p.format.Journal, p.log)
}

// Close lets go what was looked at.
func (i *Inspection) Close() error {
	if i.plan.view == nil {
		return nil
	}
	return i.plan.view.close()
}

// EachRecord visits every whole record, in the order of the journal, with its generation and what became of it. What visit
// gets is valid during the call only.
func (i *Inspection) EachRecord(visit func(generation uint64, r *wal.Record, fate string) error) error {
	for _, s := range i.plan.scanned {
		end := s.LastIndex()
		_, err := i.plan.scan(s.Number, func(r *wal.Record) error {
			if r.Index > end { // behind the torn tail's beginning
				return nil
			}
			return visit(s.Number, r, i.fate(r))
		})
		if err != nil {
			return fmt.Errorf("read the journal: %w", err)
		}
	}
	return nil
}

// pending is the fate of a write that has none yet.
const pending = "pending"

// fate is what became of a record, as far as is known; "" for one that has no fate.
func (i *Inspection) fate(r *wal.Record) string {
	if r.Kind != wal.KindWrite {
		return ""
	}
	if i.plan.builder.Pending(r.Index) {
		return pending
	}
	return i.plan.builder.Fate(r.Index).String()
}

// Pending visits the writes that were accepted and have no fate yet, whole, ascending. In a directory that is in use that
// can be some that are delivered.
func (i *Inspection) Pending(visit func(*wal.Record) error) error {
	return i.EachRecord(func(_ uint64, r *wal.Record, fate string) error {
		if fate != pending {
			return nil
		}
		return visit(r)
	})
}

// Dead visits the dead letters, whole, each once: those that were not replayed nor dropped. In a directory that is in use it
// finds those alone that were carried forward, for the others are the ledger's.
func (i *Inspection) Dead(visit func(*wal.Record) error) error {
	seen := map[uint64]bool{}
	return i.EachRecord(func(_ uint64, r *wal.Record, fate string) error {
		write := *r
		switch r.Kind {
		case wal.KindWrite:
			if fate != wal.Dead.String() {
				return nil
			}
		case wal.KindCarriedLetter:
			c, err := wal.DecodeCarriedLetter(r.Payload)
			if f := i.plan.builder.Fate(c.Index); err != nil || f == wal.Delivered || f == wal.Dropped {
				return nil //nolint:nilerr // a letter that says nothing is among the damages
			}
			write.Kind, write.Index, write.Time, write.Payload = wal.KindWrite, c.Index, c.Time, c.Payload
		default:
			return nil
		}
		if seen[write.Index] {
			return nil
		}
		seen[write.Index] = true
		return visit(&write)
	})
}

// Letters visits the dead letters, whole, with the store's words, ascending: those that were not replayed nor dropped. In a
// directory that is in use it reads what the ledger's file held at one moment, a quarter of a second ago or so.
func (i *Inspection) Letters(visit func(*ledger.Letter) error) error {
	p := i.plan
	if i.Holder != "" {
		err := ledger.ReadLetters(p.dataDir, true, visit)
		if errors.Is(err, os.ErrNotExist) {
			return nil // it is only now being made
		}
		return err
	}
	wanted := p.builder.Letters()
	found := map[uint64]*ledger.Letter{}
	if p.builder.Lost() == nil {
		err := ledger.ReadLetters(p.dataDir, false, func(l *ledger.Letter) error {
			if wanted[l.Index] {
				found[l.Index] = l
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if len(found) < len(wanted) {
		if err := i.carriedLetters(wanted, found); err != nil {
			return err
		}
	}
	for _, index := range slices.Sorted(maps.Keys(found)) {
		if err := visit(found[index]); err != nil {
			return err
		}
	}
	return nil
}

// carriedLetters adds to found those of the wanted letters that the journal alone holds.
func (i *Inspection) carriedLetters(wanted map[uint64]bool, found map[uint64]*ledger.Letter) error {
	return i.EachRecord(func(_ uint64, r *wal.Record, _ string) error {
		if r.Kind != wal.KindCarriedLetter {
			return nil
		}
		whole := *r
		whole.ID, whole.Payload = bytes.Clone(r.ID), bytes.Clone(r.Payload)
		l, err := ledger.LetterOf(&whole)
		if err == nil && wanted[l.Index] && found[l.Index] == nil {
			found[l.Index] = l
		}
		return nil //nolint:nilerr // one that says nothing is among the damages
	})
}

// Repairs says what a start would do to the directory, in the order in which it would; nothing where it is whole.
func (i *Inspection) Repairs() []string {
	p := i.plan
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if p.rewrite && !p.report.Fresh {
		say("write the FORMAT file anew, for journal %s", journalName(p.format.Journal))
	}
	for _, n := range p.toKeep() {
		say("keep a copy of the damaged generation %d in %s", n, QuarantineDir(p.dataDir))
	}
	if p.cut != nil {
		say("cut the torn tail of generation %d at byte %d, keeping a copy in %s", p.cut.number, p.cut.at, QuarantineDir(p.dataDir))
	}
	for _, n := range p.remove {
		say("delete generation %d, which was released or never used", n)
	}
	if p.report.Ledger != nil && !p.report.Fresh {
		say("build the ledger anew from the journal, because %v", p.report.Ledger)
	}
	if p.report.Lost > 0 {
		say("count %d observations as damaged, so that nothing waits for them", p.report.Lost)
	}
	return out
}

// toKeep are the generations that keepDamaged copies aside.
func (p *plan) toKeep() (out []uint64) {
	for _, s := range p.scanned {
		if len(s.Damages) > 0 && !quarantined(p.dataDir, s.Number) {
			out = append(out, s.Number)
		}
	}
	for _, n := range p.lost {
		if _, err := os.Stat(wal.SegmentPath(p.journalDir, n)); err == nil && !quarantined(p.dataDir, n) {
			out = append(out, n)
		}
	}
	return out
}
