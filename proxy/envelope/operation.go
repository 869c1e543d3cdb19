package envelope

import "fmt"

// Init is an engram.v1.StreamInit.
type Init struct {
	ClientBufferSize   uint32 // messages the server may queue of its own accord; 0 leaves it to the server
	EnableBackpressure bool
	MaxBatchSize       uint32 // advice; 0 for none
}

// Flow is an engram.v1.FlowControl.
type Flow struct {
	Action          FlowAction
	BufferRemaining int32   // messages; as it came, may be negative
	PreferredRate   float32 // messages a second; as it came, may be negative or not a number
	Reason          []byte  // UTF-8
}

// Close is an engram.v1.StreamClose.
type Close struct {
	DrainQueue   bool
	LastSequence uint64 // 0 for no check
}

// FlowAction is an engram.v1.FlowControl.Action. Clients may send numbers that have no name here.
type FlowAction int32

// The actions.
const (
	FlowUnspecified FlowAction = iota
	FlowPause
	FlowResume
	FlowSlowDown
	FlowSpeedUp
	FlowBufferStatus
)

// String returns the action's name, as the .proto file has it without its prefix.
func (a FlowAction) String() string {
	names := [...]string{"UNSPECIFIED", "PAUSE", "RESUME", "SLOW_DOWN", "SPEED_UP", "BUFFER_STATUS"}
	if a < 0 || int(a) >= len(names) {
		return fmt.Sprintf("action %d", int32(a))
	}
	return names[a]
}

func (i *Init) scan(b []byte) error {
	var seen uint32
	var f field
	r := reader{b: b}
	for r.next(&f) {
		if err := initRules.check(&f, &seen); err != nil {
			return err
		}
		switch f.num {
		case 1:
			i.ClientBufferSize = uint32(f.value) //nolint:gosec // a 32-bit number on the wire is its lower bits
		case 2:
			i.EnableBackpressure = f.value != 0
		case 3:
			i.MaxBatchSize = uint32(f.value) //nolint:gosec // as above
		}
	}
	return r.err()
}

func (c *Flow) scan(b []byte) error {
	var seen uint32
	var f field
	r := reader{b: b}
	for r.next(&f) {
		if err := flowRules.check(&f, &seen); err != nil {
			return err
		}
		switch f.num {
		case 1:
			c.Action = FlowAction(f.value) //nolint:gosec // a 32-bit number on the wire is its lower bits
		case 2:
			c.BufferRemaining = int32(f.value) //nolint:gosec // as above
		case 3:
			c.PreferredRate = f.float()
		case 4:
			c.Reason = f.data
		}
	}
	return r.err()
}

func (c *Close) scan(b []byte) error {
	var seen uint32
	var f field
	r := reader{b: b}
	for r.next(&f) {
		if err := closeRules.check(&f, &seen); err != nil {
			return err
		}
		switch f.num {
		case 1:
			c.DrainQueue = f.value != 0
		case 2:
			c.LastSequence = f.value
		}
	}
	return r.err()
}
