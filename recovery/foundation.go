package recovery

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// foundation is what the newest good head and the released records behind it tell: which generations must be there, and
// what became of those that are gone.
type foundation struct {
	head     uint64          // the generation whose head it is, 0 where no head is good
	from     uint64          // released knows what was told up to this index
	accepted uint64          // writes before the head
	live     map[uint64]bool // generations that must be there
	released wal.Tally       // the writes of those that are gone, ever
	earlier  uint64          // how many of these came before the head
	gone     map[uint64]bool // generations whose released record was found
	newest   uint64          // the newest generation that holds anything
}

// findFoundation goes from the newest generation down to the first whose head is good.
//
// Only the newest generation that was written to can be torn: one is begun only when all before it is synced. What a crash
// cut off there is no record, and neither is a released record in it.
func (p *plan) findFoundation() error {
	f := foundation{live: map[uint64]bool{}, gone: map[uint64]bool{}}
	released := map[uint64]wal.Tally{}
	newest := true
	for i, n := range slices.Backward(p.found) {
		if newest && !p.looking {
			if err := settleOnDisk(wal.SegmentPath(p.journalDir, n)); err != nil {
				return err
			}
		}
		s, told, err := p.scanReleased(n)
		if err != nil {
			return err
		}
		if s.Size == 0 {
			continue // made ready and never used, or half deleted
		}
		if newest {
			newest = false
			if err := p.follow(s, p.found[:i]); err != nil {
				return err
			}
			if p.cutTorn(s) {
				continue
			}
		}
		f.live[n], f.newest = true, max(f.newest, n)
		for _, r := range told {
			if r.at <= s.LastIndex() {
				released[r.Generation] = r.Tally
			}
		}
		if s.Head != nil {
			f.stand(s)
			break
		}
	}
	f.settle(released, p)
	p.base = f
	return nil
}

// stand makes the head of s the one to rest on.
func (f *foundation) stand(s *wal.Scanned) {
	f.head, f.from, f.accepted, f.released = s.Number, s.Base, s.Head.Accepted, s.Head.Released
	for _, span := range s.Head.Live {
		for g := span.First; g <= span.Last && g < s.Number; g++ {
			f.live[g] = true
		}
	}
}

// settle adds the generations that were released behind the head.
func (f *foundation) settle(released map[uint64]wal.Tally, p *plan) {
	if f.standOnLedger(released, p) {
		return
	}
	f.earlier = f.released.Accepted
	for g, t := range released {
		if f.head == 0 || g >= f.head || f.live[g] { // else the head has it
			f.released = f.released.Plus(t)
			if g < f.head {
				f.earlier += t.Accepted
			}
		}
		f.gone[g] = true
		delete(f.live, g)
	}
}

// standOnLedger rests on the ledger's file where the newest head is damaged, or a released record: a generation behind the
// newest good head may have been released, or be lost, with all the records that told of others. It returns false where
// there is no need, or the file is lost, or older than the head.
func (f *foundation) standOnLedger(released map[uint64]wal.Tally, p *plan) bool {
	past := p.builder.Past()
	if p.builder.Lost() != nil || past.Durable < f.from {
		return false
	}
	need := f.head == 0 || f.head != f.newest
	for g := range f.live {
		_, gone := released[g]
		need = need || (!gone && f.vanished(g, p))
	}
	if !need {
		return false
	}
	f.head, f.accepted, f.from, f.released = 0, 0, past.Durable, past.Released
	for _, g := range p.builder.KnownGenerations() {
		f.live[g] = true
	}
	for g, t := range released {
		if p.builder.Base(g) != 0 { // the file was written before that was released
			f.released = f.released.Plus(t)
		}
		delete(f.live, g)
	}
	for g := range f.live {
		if f.vanished(g, p) {
			delete(f.live, g)
		}
	}
	return true
}

// vanished says that a generation is not on the disk and has no account in the ledger's file, which it loses when it is
// released.
func (f *foundation) vanished(number uint64, p *plan) bool {
	return !slices.Contains(p.found, number) && p.builder.Base(number) == 0
}

// releasedAt is a released record and its place.
type releasedAt struct {
	*wal.Released
	at uint64
}

func (p *plan) scanReleased(n uint64) (*wal.Scanned, []releasedAt, error) {
	var told []releasedAt
	s, err := p.scan(n, func(r *wal.Record) error {
		if r.Kind == wal.KindReleased {
			if rel, err := wal.DecodeReleased(r.Payload); err == nil {
				told = append(told, releasedAt{rel, r.Index})
			}
		}
		return nil
	})
	return s, told, err
}

func (p *plan) scan(n uint64, visit func(*wal.Record) error) (*wal.Scanned, error) {
	if p.view != nil {
		return p.view.scan(p, n, visit)
	}
	return wal.ScanGeneration(p.journalDir, p.format.Journal, n, visit)
}

// follow tells s where it must begin, should its first frame be damaged: behind the generation before it, which is still
// there if there ever was one, since what releases it would stand in s.
func (p *plan) follow(s *wal.Scanned, earlier []uint64) error {
	if s.Head != nil {
		return nil
	}
	for _, n := range slices.Backward(earlier) {
		before, err := p.scan(n, nil)
		if err != nil {
			return err
		}
		if before.Size > 0 {
			if before.Base != 0 {
				s.Follow(before.LastIndex() + 1)
			}
			return nil
		}
	}
	s.Follow(1)
	return nil
}

// settleOnDisk makes what a read of the newest segment returns the same as what is on the disk, before the ledger is told of
// it. The process that wrote it may have been killed before its fsync returned; then a session would resume at a record that
// a power cut still takes. And where its fsync failed, the page cache holds as clean what the disk never took: dropping it
// brings the truth to light.
func settleOnDisk(segment string) error {
	f, err := os.Open(segment)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sync the newest generation: %w", err)
	}
	err = f.Sync()
	if err == nil {
		err = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("sync the newest generation %s: %w", segment, err)
	}
	return nil
}
