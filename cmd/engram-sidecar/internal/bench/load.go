package bench

import (
	"fmt"
	"time"
)

// Load is what the client does. It has no zero values that mean something: begin with DefaultLoad.
type Load struct {
	Streams     int           `json:"streams"`     // observation streams, each a session
	Window      int           `json:"window"`      // most observations of a stream that are sent and not acked
	Rate        float64       `json:"rate"`        // observations a second over all streams; 0 is as fast as acks come
	Size        int           `json:"size"`        // bytes of text in an observation, beside its 768 dimensions
	Spaces      int           `json:"spaces"`      // memory spaces that the observations go to in turn
	Connections int           `json:"connections"` // that the streams share; 0 is one for each 64 streams
	Warmup      time.Duration `json:"warmup_ns"`   // before anything is counted
	Duration    time.Duration `json:"duration_ns"` // of what is counted

	// Count ends the load after so many observations instead, whatever the times say; 0 does not.
	Count uint64 `json:"count,omitempty"`
}

// DefaultLoad is eight streams with a window of 64 each.
func DefaultLoad() Load {
	return Load{Streams: 8, Window: 64, Size: 128, Spaces: 1, Warmup: time.Second, Duration: 5 * time.Second}
}

// Bounds of a load. Those of size and spaces are where one process could not hold the messages any more.
const (
	maxStreams     = 20_000
	maxWindow      = 100_000
	maxSize        = 250 << 10
	maxSpaces      = 4096
	streamsPerConn = 64
)

// Validate refuses what cannot work, in the words of the flags.
func (l *Load) Validate() error {
	switch {
	case l.Streams < 1 || l.Streams > maxStreams:
		return fmt.Errorf("--streams: expected 1 to %d, got %d", maxStreams, l.Streams)
	case l.Window < 1 || l.Window > maxWindow:
		return fmt.Errorf("--window: expected 1 to %d, got %d", maxWindow, l.Window)
	case l.Rate < 0:
		return fmt.Errorf("--rate: expected 0 (as fast as acks come) or more a second, got %g", l.Rate)
	case l.Size < 0 || l.Size > maxSize:
		return fmt.Errorf("--size: expected 0 to %d bytes of text, got %d", maxSize, l.Size)
	case l.Spaces < 1 || l.Spaces > maxSpaces:
		return fmt.Errorf("--spaces: expected 1 to %d, got %d", maxSpaces, l.Spaces)
	case l.Connections < 0 || l.Connections > l.Streams:
		return fmt.Errorf("--connections: expected 0 (automatic) to the number of streams, %d, got %d", l.Streams, l.Connections)
	case l.Warmup < 0:
		return fmt.Errorf("--warmup: expected 0 or more, got %v", l.Warmup)
	case l.Duration < 10*time.Millisecond:
		return fmt.Errorf("--duration: expected at least 10ms, got %v", l.Duration)
	}
	return nil
}

// connections is how many connections the streams share.
func (l *Load) connections() int {
	if l.Connections > 0 {
		return l.Connections
	}
	return (l.Streams + streamsPerConn - 1) / streamsPerConn
}

// String says the load in a few words.
func (l *Load) String() string {
	rate := "as fast as acks come"
	if l.Rate > 0 {
		rate = fmt.Sprintf("%s/s", count(l.Rate))
	}
	text := fmt.Sprintf("%d × window %d, %s, %s an observation", l.Streams, l.Window, rate, size(float64(l.bytes())))
	if l.Spaces > 1 {
		text += fmt.Sprintf(", %d spaces", l.Spaces)
	}
	return text
}

// bytes is how large an observation's episode is.
func (l *Load) bytes() int { return len(episodeOf(l.Size, 0)) }
