package recovery

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/engram-sidecar/engram-sidecar/wal"
	"github.com/engram-sidecar/engram-sidecar/wal/ledger"
)

// ErrDamaged refuses a start with Strict: damage was found, and nothing was touched.
var ErrDamaged = errors.New("data directory damaged")

// Options say what to open. Journal.Dir is set by Open.
type Options struct {
	DataDir string
	Strict  bool       // refuse to start when acknowledged data is damaged, rather than report it and go on. Key: strict
	Journal wal.Config // OnCommit is called after the ledger has taken the batch in
	Logger  hclog.Logger

	stop func(step) error // called after each step of the repair; tests stop there
}

// State is a data directory that is consistent and ready to take records. Its owner runs Ledger.Run, and closes State when
// that has returned.
type State struct {
	Journal  *wal.Journal
	Ledger   *ledger.Ledger
	Sessions []ledger.Session
	Pending  []Run // what is accepted and not settled, ascending
	Report   Report

	lock *wal.Lock
}

// Run is a run of consecutive pending writes of one lane.
type Run struct {
	First, Last uint64
	Lane        wal.Lane
	At          time.Time // when the first was appended
}

// Open takes the directory's lock, repairs what a crash left, and brings journal and ledger together. Nothing is changed
// before the whole directory has been read and found fit: with a newer format, with damage under Strict, or without the
// lock it stays as it is, to the byte, but for the name of its holder in the lock file. The error wraps wal.ErrLocked,
// wal.ErrNewerFormat, ErrDamaged, or is the file system's.
func Open(o Options) (*State, error) {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	start := time.Now()
	if err := prepareDir(o.DataDir); err != nil {
		return nil, err
	}
	lock, err := wal.AcquireLock(o.DataDir)
	if err != nil {
		return nil, err
	}
	s, err := open(o, start, nil)
	if err != nil {
		return nil, errors.Join(err, lock.Release())
	}
	s.lock = lock
	return s, nil
}

// open is tried a second time where the ledger's file was found damaged only when it was to be written: it is out of the
// way then, which found says.
func open(o Options, start time.Time, found error) (*State, error) {
	p, err := newPlan(o.DataDir, o.Logger)
	if err != nil {
		return nil, err
	}
	if o.Strict && len(p.report.Damages) > 0 {
		return nil, fmt.Errorf("%w: %d places, the first: %w: start without strict to go on with what is left, or restore a backup",
			ErrDamaged, p.report.Places(), p.report.Damages[0])
	}
	if err := p.act(o.stop); err != nil {
		return nil, err
	}
	s := &State{Pending: p.pending(), Report: p.report}
	s.Ledger, err = p.builder.Build(func(n uint64, visit func(*wal.Record) error) error {
		_, err := p.scan(n, visit)
		return err
	})
	if errors.Is(err, ledger.ErrDamaged) && found == nil {
		return open(o, start, err)
	}
	if err != nil {
		return nil, err
	}
	if s.Journal, err = openJournal(o, p, s.Ledger); err != nil {
		return nil, errors.Join(err, s.Ledger.Close())
	}
	s.Sessions = s.Ledger.Sessions()
	s.Report.Sessions, s.Report.Took = len(s.Sessions), time.Since(start)
	if found != nil {
		s.Report.Ledger = found
	}
	return s, nil
}

func openJournal(o Options, p *plan, l *ledger.Ledger) (*wal.Journal, error) {
	cfg := o.Journal
	cfg.Dir = p.journalDir
	if cfg.Logger == nil {
		cfg.Logger = o.Logger
	}
	tell := cfg.OnCommit
	cfg.OnCommit = func(c *wal.Commit) {
		l.Committed(c)
		if tell != nil {
			tell(c)
		}
	}
	return wal.Open(cfg, p.position())
}

// Close closes the journal, writes the ledger a last time and gives the lock back, in this order.
func (s *State) Close() error {
	err := s.Journal.Close()
	if !errors.Is(err, wal.ErrFailed) {
		err = errors.Join(err, s.Ledger.Flush())
	}
	return errors.Join(err, s.Ledger.Close(), s.lock.Release())
}

// JournalDir is where the generations are, below a data directory.
func JournalDir(dataDir string) string { return filepath.Join(dataDir, "journal") }

// QuarantineDir is where copies of damaged and torn bytes are kept, below a data directory.
func QuarantineDir(dataDir string) string { return filepath.Join(dataDir, "quarantine") }
