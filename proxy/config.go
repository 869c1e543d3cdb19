package proxy

import (
	"fmt"
	"time"

	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
	"github.com/engram-sidecar/engram-sidecar/proxy/session"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// Config bounds what the edge takes. The zero value of each field means its default.
type Config struct {
	// DefaultSpace is the memory space of requests that name none: "default" by default. Key: default-space.
	DefaultSpace string
	// Session bounds the sessions. Keys: session-timeout, max-sessions.
	Session session.Config

	// MaxEpisodeBytes bounds one episode or memory, 256 KiB by default. Key: max-episode-bytes.
	MaxEpisodeBytes int
	// MaxMessageBytes bounds one gRPC message, decompressed, 1 MiB by default. Key: max-message-bytes.
	MaxMessageBytes int
	// MaxStreams bounds the calls that one connection may have open, 1,024 by default. Key: max-streams-per-connection.
	MaxStreams int
	// MaxConnections bounds the connections, 16,384 by default; those above it are closed at once. Key: max-connections.
	MaxConnections int
	// Quota bounds what one client may write; nothing by default.
	Quota Quota
	// MaxCancelled bounds the calls a second that one connection may go on taking back, 500 by default; above it the
	// connection is read more slowly. Key: max-cancelled-calls.
	MaxCancelled int
	// MaxBarren bounds the messages a second that bring nothing durable, over all streams that send many of them in a row,
	// 10,000 by default; above it these are read more slowly. Key: max-refused-messages.
	MaxBarren int

	// AnswerBytes bounds the answers that wait for one client to read them, 128 KiB by default. Of one that reads
	// nothing less is kept: it is not read any more once 8 KiB wait behind what gRPC cannot get rid of. Key: answer-buffer-bytes.
	AnswerBytes int
	// WindowBytes bounds what one stream has in the journal and not yet durable, 4 MiB by default. Key: stream-window-bytes.
	WindowBytes int
	// Grace is how long a stop waits for answers owed and calls in flight, 10 seconds by default. Key: grace.
	Grace time.Duration
}

func (c Config) withDefaults() Config {
	if c.DefaultSpace == "" {
		c.DefaultSpace = "default"
	}
	if c.Session.Timeout == 0 {
		c.Session.Timeout = session.DefaultTimeout
	}
	if c.Session.Limit == 0 {
		c.Session.Limit = session.DefaultLimit
	}
	for _, d := range []struct {
		field *int
		value int
	}{
		{&c.MaxEpisodeBytes, 256 << 10},
		{&c.MaxMessageBytes, 1 << 20},
		{&c.MaxStreams, 1024},
		{&c.MaxConnections, 16_384},
		{&c.MaxCancelled, 500},
		{&c.MaxBarren, 10_000},
		{&c.AnswerBytes, 128 << 10},
		{&c.WindowBytes, 4 << 20},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.Grace == 0 {
		c.Grace = 10 * time.Second
	}
	return c
}

// Validate reports the first setting that cannot work, by the operator's name for it.
func (c Config) Validate() error {
	c = c.withDefaults()
	if err := c.Session.Validate(); err != nil {
		return err
	}
	if err := envelope.ValidSpace([]byte(c.DefaultSpace)); err != nil {
		return fmt.Errorf("default-space: %w", err)
	}
	for _, d := range []struct {
		key   string
		value int
		low   int
		high  int
	}{
		{"max-message-bytes", c.MaxMessageBytes, 8 << 10, wal.MaxPayload},
		{"max-episode-bytes", c.MaxEpisodeBytes, 4 << 10, c.MaxMessageBytes},
		{"max-streams-per-connection", c.MaxStreams, 1, 1 << 20},
		{"max-connections", c.MaxConnections, 1, 1 << 20},
		{"max-cancelled-calls", c.MaxCancelled, 1, 1 << 20},
		{"max-refused-messages", c.MaxBarren, 1, 1 << 24},
		{"answer-buffer-bytes", c.AnswerBytes, 4 << 10, 1 << 30},
		{"stream-window-bytes", c.WindowBytes, 1, 1 << 30},
		{"client-bytes-per-second", c.Quota.Bytes, 0, maxQuota},
		{"client-observations-per-second", c.Quota.Messages, 0, maxQuota},
	} {
		if d.value < d.low || d.value > d.high {
			return fmt.Errorf("%s: expected %d to %d, got %d", d.key, d.low, d.high, d.value)
		}
	}
	if c.Grace < 0 {
		return fmt.Errorf("grace: expected a duration above 0, got %v", c.Grace)
	}
	return nil
}
