package forward

import (
	"fmt"
	"time"
)

// Config shapes a Forwarder. A zero value means the default.
type Config struct {
	// BatchItems and BatchBytes bound one Put, in records and in payload bytes; a single larger record goes alone.
	BatchItems int
	BatchBytes int
	// Parallel is how many Puts run at once. The records of a session are all in the same one.
	Parallel int
	// Flight is how much of the store's time may be in flight.
	Flight time.Duration
	// PutTimeout ends a Put; what it has not answered counts as a failure of the whole store.
	PutTimeout time.Duration
	// BackoffMin and BackoffMax bound the pause after a failure. It doubles from one to the other, with full jitter.
	BackoffMin time.Duration
	BackoffMax time.Duration
	// Tries is after how many failures of one record, while others succeeded, it is dead.
	Tries int
	// Grace is how long a stop waits for the Put in flight.
	Grace time.Duration
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		BatchItems: 256,
		BatchBytes: 4 << 20,
		Parallel:   1,
		Flight:     50 * time.Millisecond,
		PutTimeout: 30 * time.Second,
		BackoffMin: 50 * time.Millisecond,
		BackoffMax: 5 * time.Second,
		Tries:      10,
		Grace:      10 * time.Second,
	}
}

// Validate says what is wrong with c, in the operator's terms.
func (c Config) Validate() error {
	d := DefaultConfig()
	for _, n := range []struct {
		key          string
		value, usual int
	}{
		{"forward-batch-items", c.BatchItems, d.BatchItems},
		{"forward-batch-bytes", c.BatchBytes, d.BatchBytes},
		{"forward-parallel", c.Parallel, d.Parallel},
		{"forward-tries", c.Tries, d.Tries},
	} {
		if n.value < 0 {
			return fmt.Errorf("%s %d: expected 1 or more, such as %d", n.key, n.value, n.usual)
		}
	}
	for _, p := range []struct {
		key          string
		value, usual time.Duration
	}{
		{"forward-flight", c.Flight, d.Flight},
		{"forward-put-timeout", c.PutTimeout, d.PutTimeout},
		{"forward-backoff-min", c.BackoffMin, d.BackoffMin},
		{"forward-backoff-max", c.BackoffMax, d.BackoffMax},
		{"forward-grace", c.Grace, d.Grace},
	} {
		if p.value < 0 {
			return fmt.Errorf("%s %v: expected a positive duration, such as %v", p.key, p.value, p.usual)
		}
	}
	if full := c.withDefaults(); full.BackoffMin > full.BackoffMax {
		return fmt.Errorf("forward-backoff-min %v: expected at most forward-backoff-max, which is %v", full.BackoffMin, full.BackoffMax)
	}
	return nil
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	orInt(&c.BatchItems, d.BatchItems)
	orInt(&c.BatchBytes, d.BatchBytes)
	orInt(&c.Parallel, d.Parallel)
	orInt(&c.Tries, d.Tries)
	orDuration(&c.Flight, d.Flight)
	orDuration(&c.PutTimeout, d.PutTimeout)
	orDuration(&c.BackoffMin, d.BackoffMin)
	orDuration(&c.BackoffMax, d.BackoffMax)
	orDuration(&c.Grace, d.Grace)
	return c
}

func orInt(value *int, usual int) {
	if *value == 0 {
		*value = usual
	}
}

func orDuration(value *time.Duration, usual time.Duration) {
	if *value == 0 {
		*value = usual
	}
}
