package queue

import (
	"fmt"
	"time"
)

// Lanes is the number of lanes; a lane is an int from 0 (goes first) to Lanes-1.
const Lanes = 3

// Defaults of Config.
const (
	DefaultAgeingLimit = 30 * time.Second
	DefaultAgeingShare = 20
)

// Config shapes a Queue. A zero value means the default.
type Config struct {
	// LaneCapacity is how many undelivered records a lane may hold before Full says so; 0 is no limit.
	LaneCapacity [Lanes]int
	// AgeingLimit is the age above which what waits in a lower lane is served beside the higher ones. Ages have a
	// resolution of one second.
	AgeingLimit time.Duration
	// AgeingShare gives an aged lane one slot in so many.
	AgeingShare int
}

// Validate says what is wrong with c, in the operator's terms.
func (c Config) Validate() error {
	for lane, capacity := range c.LaneCapacity {
		if capacity < 0 {
			return fmt.Errorf("lane-capacity: number %d is %d: expected a count of records, or 0 for no limit", lane+1, capacity)
		}
	}
	if c.AgeingLimit < 0 {
		return fmt.Errorf("ageing-limit %v: expected a positive duration such as %v", c.AgeingLimit, DefaultAgeingLimit)
	}
	if c.AgeingShare < 0 || c.AgeingShare == 1 {
		return fmt.Errorf("ageing-share %d: expected 2 or more (one slot in so many), such as %d", c.AgeingShare, DefaultAgeingShare)
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.AgeingLimit <= 0 {
		c.AgeingLimit = DefaultAgeingLimit
	}
	if c.AgeingShare < 2 {
		c.AgeingShare = DefaultAgeingShare
	}
	return c
}
