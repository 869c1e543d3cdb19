package wal

import (
	"strings"
	"testing"
	"time"
)

func TestConfigSpeaksTheOperatorsNames(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		says string
	}{
		{Config{}, "data-dir: expected a directory"},
		{Config{Dir: "d", MaxBytes: -1}, "journal-max-bytes: expected 0 (automatic) or more, got -1"},
		{Config{Dir: "d", MaxBytes: minGenerationBytes - 1}, "journal-max-bytes: expected at least 65536 (64 KiB), got 65535"},
		{Config{Dir: "d", ReserveBytes: -5}, "journal-reserve-bytes: expected 0 (automatic) or more, got -5"},
		{Config{Dir: "d", GenerationBytes: 1}, "journal-generation-bytes: expected 65536 to 268435456"},
		{Config{Dir: "d", GenerationBytes: maxGenerationBytes + 1}, "journal-generation-bytes: expected 65536 to 268435456"},
		{Config{Dir: "d", BatchBytes: -1}, "journal-batch-bytes: expected 0 (automatic) to 67108864 (64 MiB), got -1"},
		{Config{Dir: "d", BatchBytes: maxBatchBytes + 1}, "journal-batch-bytes: expected 0 (automatic) to 67108864"},
	} {
		if err := c.cfg.Validate(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, want it to say %q", c.cfg, err, c.says)
		}
	}
	for _, c := range []Config{
		{Dir: "d"},
		{Dir: "d", MaxBytes: minGenerationBytes, ReserveBytes: 1, GenerationBytes: minGenerationBytes, BatchBytes: 1},
		{Dir: "d", GenerationBytes: maxGenerationBytes, BatchBytes: maxBatchBytes},
		Config{Dir: "d"}.withDefaults(),
	} {
		if err := c.Validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestDefaults(t *testing.T) {
	c := Config{Dir: "d"}.withDefaults()
	if c.GenerationBytes != 4<<20 || c.BatchBytes != 4<<20 || c.Logger == nil {
		t.Errorf("%+v", c)
	}
	c.OnCommit(nil)
	c.OnSync(1, 1, time.Second)
}
