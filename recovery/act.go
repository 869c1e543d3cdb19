package recovery

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// step names what act does, in its order, for tests that stop in between.
type step string

// act does what the plan says. Each step may be cut short by a crash: the next start reads the same directory again and
// comes to the same plan, or to what is left of it. Copies for the quarantine come before what they are copies of goes.
func (p *plan) act(stop func(step) error) error {
	steps := []struct {
		name step
		do   func() error
	}{
		{"make the journal's directory", p.makeDirs},
		{"keep what is damaged", p.keepDamaged},
		{"cut the torn tail", p.repairTail},
		{"delete generations", p.deleteGenerations},
		{"trim the quarantine", func() error { return trimQuarantine(p.dataDir) }},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if stop == nil {
			continue
		}
		if err := stop(s.name); err != nil {
			return err
		}
	}
	return nil
}

func (p *plan) makeDirs() error {
	if err := os.MkdirAll(p.journalDir, 0o700); err != nil {
		return err
	}
	if p.rewrite {
		if !p.report.Fresh {
			p.log.Warn("the FORMAT file was lost or damaged, and is written anew", "journal", journalName(p.format.Journal))
		}
		if err := wal.WriteFormat(p.dataDir, p.format); err != nil {
			return err
		}
	}
	return wal.SyncDir(p.dataDir)
}

// keepDamaged copies each damaged segment aside once: the good records in it are delivered and then the file goes, but the
// bytes that could not be read stay for whoever wants to look at them.
func (p *plan) keepDamaged() error {
	for _, s := range p.scanned {
		if len(s.Damages) > 0 {
			if err := p.keepCopy(s.Number); err != nil {
				return err
			}
		}
	}
	for _, n := range p.lost {
		if slices.Contains(p.found, n) {
			if err := p.keepCopy(n); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *plan) keepCopy(number uint64) error {
	if quarantined(p.dataDir, number) {
		return nil
	}
	err := copyAside(p.dataDir, wal.SegmentPath(p.journalDir, number), number)
	switch {
	case errors.Is(err, os.ErrNotExist): // a segment that is missing leaves nothing to keep
		return nil
	case errors.Is(err, unix.EIO): // what cannot be read cannot be copied: that is no reason not to start
		p.log.Warn("damaged bytes cannot be copied", "error", err)
		return nil
	case p.noRoom(err):
		return nil
	}
	return err
}

// noRoom says that a copy for the quarantine found no room: a start goes on without it.
func (p *plan) noRoom(err error) bool {
	if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
		return false
	}
	p.log.Warn("no room for a copy of damaged or torn bytes", "error", err)
	return true
}

// cutTail makes the newest generation end with its last whole frame.
func (p *plan) cutTail() error {
	if p.cut == nil {
		return nil
	}
	name, err := quarantineName(p.dataDir, "torn", p.cut.number)
	if err == nil {
		err = wal.CutTail(p.cut.segment, p.cut.at, name)
	}
	if p.noRoom(err) {
		return wal.CutTail(p.cut.segment, p.cut.at, "")
	}
	return err
}

// deleteGenerations finishes the deletions that a crash interrupted, and takes away what was made ready and never used.
func (p *plan) deleteGenerations() error {
	for _, n := range p.remove {
		if err := wal.RemoveGeneration(p.journalDir, n); err != nil {
			return err
		}
	}
	return nil
}
