package observe

import (
	"errors"
	"fmt"
	"time"
)

// Config says how a run streams. The zero value of a field with a default means the default.
type Config struct {
	Space    string        // memory space; "" means the sidecar's default
	Session  string        // id of a session to go on with; "" opens one
	Priority string        // high, normal or low, for a new session; "" means normal
	Window   int           // most observations that are sent and not acked; default 256
	RetryFor time.Duration // how long a lost connection is tried again; default 5 minutes
	Linger   time.Duration // how long an interrupted run waits for the acks it is owed; default 3 s
	Patience time.Duration // how long owed acks may stay out before Notice is told; default 5 s

	SkipInvalid bool // leave out what is invalid and go on
	FromStart   bool // the input is that of an earlier run of the session: leave out what the session already has
	KeepOpen    bool // leave the session open at the end of the input
	Drain       bool // at the end wait until the store has everything

	Progress func(Summary)                    // called about ten times a second and at the end; may be nil
	Notice   func(format string, args ...any) // told of what a person should know at once; may be nil
}

// MaxWindow bounds the window: at 256 KiB an observation it keeps memory below 2.5 GB at the very worst.
const MaxWindow = 10_000

// Validate refuses what can't work, in the words of the flags.
func (c Config) Validate() error {
	switch {
	case c.Window < 0 || c.Window > MaxWindow:
		return fmt.Errorf("--window: expected 1 to %d, got %d", MaxWindow, c.Window)
	case c.FromStart && c.Session == "":
		return errors.New("--from-start: expected --session with it: only a session that exists can have some of the input already")
	case c.Drain && c.KeepOpen:
		return errors.New("--drain and --keep-open: expected one of them: a session is drained when it is closed")
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.Window == 0 {
		c.Window = 256
	}
	if c.RetryFor == 0 {
		c.RetryFor = 5 * time.Minute
	}
	if c.Linger == 0 {
		c.Linger = 3 * time.Second
	}
	if c.Patience == 0 {
		c.Patience = 5 * time.Second
	}
	if c.Progress == nil {
		c.Progress = func(Summary) {}
	}
	if c.Notice == nil {
		c.Notice = func(string, ...any) {}
	}
	return c
}
