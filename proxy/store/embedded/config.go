package embedded

import (
	"fmt"
	"math"
	"math/bits"
	"runtime"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Config is how the store works. The zero value of each field means its default.
type Config struct {
	// Workers is how many threads one recall may use when it has much to compare: as many as the process may run at once
	// by default. Key: embedded-recall-workers.
	Workers int
	// SegmentRows is how many memories one segment holds, a power of two, 65,536 (192 MiB of vectors) by default. It is
	// settled when the store is created; later ones take what stands on disk. Key: embedded-segment-rows.
	SegmentRows int
	// MaxMemories is how many memories, superseded versions among them, the store takes; at it Put answers that the store is
	// unavailable. 0 means no limit but the disk's. Key: embedded-max-memories.
	MaxMemories int

	Logger hclog.Logger // nil for none

	disk *disk            // nil for the operating system's
	now  func() time.Time // nil for time.Now

	// sketchFrom is from how many rows on a recall looks at sketches before vectors; 0 for manyRows.
	sketchFrom int
}

const (
	defaultSegmentRows = 1 << 16
	minSegmentRows     = 1 << 3
	maxSegmentRows     = 1 << 20
	maxWorkers         = 256
)

// Validate reports the first setting that cannot work, by the operator's name for it.
func (c *Config) Validate() error {
	switch rows := c.SegmentRows; {
	case c.Workers < 0 || c.Workers > maxWorkers:
		return fmt.Errorf("embedded-recall-workers: expected 0 (one for each processor) to %d, got %d", maxWorkers, c.Workers)
	case c.MaxMemories < 0:
		return fmt.Errorf("embedded-max-memories: expected 0 (no limit) or more, got %d", c.MaxMemories)
	case rows != 0 && (rows < minSegmentRows || rows > maxSegmentRows || bits.OnesCount(uint(rows)) != 1):
		return fmt.Errorf("embedded-segment-rows: expected 0 (%d) or a power of two from %d to %d, got %d",
			defaultSegmentRows, minSegmentRows, maxSegmentRows, rows)
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Workers == 0 {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	if c.SegmentRows == 0 {
		c.SegmentRows = defaultSegmentRows
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if c.disk == nil {
		c.disk = osDisk()
	}
	if c.now == nil {
		c.now = time.Now
	}
	switch {
	case c.sketchFrom == 0 && sketchable:
		c.sketchFrom = manyRows
	case c.sketchFrom == 0:
		c.sketchFrom = math.MaxInt
	}
	return c
}
