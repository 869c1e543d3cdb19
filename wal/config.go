package wal

import (
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Config says where the journal lives and how much it may take. The zero value of each field means its default.
type Config struct {
	Dir string // the journal's own directory; it must exist, 0700

	// MaxBytes is the quota: observations are refused when the journal would grow beyond it. 0 means half of what is free
	// on the disk and used by the journal together, at most 10 GiB. Key: journal-max-bytes.
	MaxBytes int64
	// ReserveBytes of the disk stay free, so that deleting, the ledger and delivery still work when the journal is full.
	// 0 means the larger of 16 MiB and 2 % of the disk, at most a quarter of it. Key: journal-reserve-bytes.
	ReserveBytes int64
	// GenerationBytes is the size at which a generation is finished and the next begun, 4 MiB by default, and never more
	// than a quarter of the quota: only a finished one can be given back. Small ones give space back early; large ones cost
	// fewer files. Key: journal-generation-bytes.
	GenerationBytes int64
	// BatchBytes bounds what one fsync makes durable, and with it the memory of the two batches: 4 MiB by default, at most
	// 64 MiB. An Append that finds the batch full waits for the fsync that runs.
	BatchBytes int

	// OnCommit is called by the committer for each durable batch, before its producers are woken, so that what an ack
	// stands for is known to ledger, queue and recall before the client can read the ack. It must not call the journal.
	OnCommit func(*Commit)
	// OnSync tells, from the committer too, how long a batch's write and fsync took and how many records and bytes it held.
	OnSync func(records int, bytes int, took time.Duration)

	Logger hclog.Logger
}

const (
	defaultGenerationBytes = 4 << 20
	defaultBatchBytes      = 4 << 20
	defaultQuotaCap        = 10 << 30
	minReserve             = 16 << 20
	minGenerationBytes     = 64 << 10
	maxGenerationBytes     = 256 << 20
	maxBatchBytes          = 64 << 20
)

// Validate reports the first setting that cannot work, by the operator's name for it.
func (c *Config) Validate() error {
	switch {
	case c.Dir == "":
		return fmt.Errorf("data-dir: expected a directory, got none")
	case c.MaxBytes < 0:
		return fmt.Errorf("journal-max-bytes: expected 0 (automatic) or more, got %d", c.MaxBytes)
	case c.MaxBytes > 0 && c.MaxBytes < minGenerationBytes:
		return fmt.Errorf("journal-max-bytes: expected at least %d (64 KiB), got %d", minGenerationBytes, c.MaxBytes)
	case c.ReserveBytes < 0:
		return fmt.Errorf("journal-reserve-bytes: expected 0 (automatic) or more, got %d", c.ReserveBytes)
	case c.GenerationBytes != 0 && (c.GenerationBytes < minGenerationBytes || c.GenerationBytes > maxGenerationBytes):
		return fmt.Errorf("journal-generation-bytes: expected %d to %d (64 KiB to 256 MiB), got %d",
			minGenerationBytes, maxGenerationBytes, c.GenerationBytes)
	case c.BatchBytes < 0 || c.BatchBytes > maxBatchBytes:
		return fmt.Errorf("journal-batch-bytes: expected 0 (automatic) to %d (64 MiB), got %d", maxBatchBytes, c.BatchBytes)
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.GenerationBytes == 0 {
		c.GenerationBytes = defaultGenerationBytes
	}
	if c.BatchBytes == 0 {
		c.BatchBytes = defaultBatchBytes
	}
	if c.OnCommit == nil {
		c.OnCommit = func(*Commit) {}
	}
	if c.OnSync == nil {
		c.OnSync = func(int, int, time.Duration) {}
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

// Position is where a journal goes on: what recovery read from the generations on disk.
type Position struct {
	Journal     [16]byte   // identity of the data directory
	Generations []*Scanned // that stay readable, ascending by number
	Generation  uint64     // number of the next generation, above all on disk
	Index       uint64     // the next record's, above all that ever were
	Batch       uint64     // the next group commit's, above all that ever were
	Accepted    uint64     // writes in the journal, ever
	Released    Tally      // of all released generations
}

func (at *Position) validate() error {
	if at.Generation == 0 || at.Index == 0 || at.Batch == 0 {
		return fmt.Errorf("position at generation %d, index %d, batch %d: each begins at 1", at.Generation, at.Index, at.Batch)
	}
	number, index := uint64(0), uint64(0)
	for _, s := range at.Generations {
		if s.Number <= number || (s.Records > 0 && s.Base <= index) {
			return fmt.Errorf("generation %d begins at index %d behind generation %d, which ends at %d: expected both to ascend",
				s.Number, s.Base, number, index)
		}
		number, index = s.Number, max(index, s.LastIndex())
	}
	if number >= at.Generation || index >= at.Index {
		return fmt.Errorf("position at generation %d, index %d: generation %d is on disk and ends at index %d: expected more",
			at.Generation, at.Index, number, index)
	}
	return nil
}

// Commit is one durable batch. It is valid during the call of OnCommit only; what the elements of Records point to may be
// kept.
type Commit struct {
	Generation uint64
	Records    []Record
	At         time.Time // when the fsync returned
}
