package session

import (
	"fmt"
	"time"
)

// Config bounds the sessions. The zero value of each field means its default.
type Config struct {
	// Timeout is how long a session without a stream can be resumed, and how long a closed one is remembered as closed:
	// 5 minutes by default. Key: session-timeout.
	Timeout time.Duration
	// Limit is how many sessions may be open at once, connected or not: 20,000 by default. Key: max-sessions.
	Limit int
}

// The defaults of Config.
const (
	DefaultTimeout = 5 * time.Minute
	DefaultLimit   = 20_000
)

// Validate reports the first setting that cannot work, by the operator's name for it.
func (c Config) Validate() error {
	switch {
	case c.Timeout < 0:
		return fmt.Errorf("session-timeout: expected a duration above 0, got %v", c.Timeout)
	case c.Limit < 0:
		return fmt.Errorf("max-sessions: expected a number above 0, got %d", c.Limit)
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Limit == 0 {
		c.Limit = DefaultLimit
	}
	return c
}
