package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/engram-sidecar/engram-sidecar/proxy/access"
	"github.com/engram-sidecar/engram-sidecar/proxy/session"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// Journal makes records durable. See wal.Journal, which OverJournal adapts.
type Journal interface {
	// NewProducer makes a source of records for one stream.
	NewProducer() Producer
	// Write appends one record and returns when it is durable, with the time of its commit. Errors are Append's.
	Write(ctx context.Context, r *wal.Record) (time.Time, error)
	// Pressure is how much of what the journal may take is taken, from 0 to 1; at 1 observations are refused.
	Pressure() float64
}

// Producer is one stream's way into the journal. See wal.Producer.
type Producer interface {
	Appender
	Progress
}

// Appender takes records. Its methods belong to one goroutine at a time.
type Appender interface {
	// Append gives r its index; it is not durable yet. The error wraps wal.ErrFull, ErrRefused, ErrFailed or ErrClosed.
	Append(r *wal.Record) error
	// Reset makes the producer usable after a refusal, once its owner has rolled back.
	Reset()
}

// Progress tells what has become of the records. Its methods may be called from anywhere.
type Progress interface {
	// Durable is the index of the last durable record, 0 for none, and when it was committed.
	Durable() (index uint64, at time.Time)
	// Err is why the records behind Durable will not become durable, or nil.
	Err() error
	// Wake receives after each commit of the producer's records, and when one was refused.
	Wake() <-chan struct{}
}

// Recaller is the store as recall sees it.
type Recaller interface {
	// Recall answers a query. An error that store.ClassOf finds permanent is the query's fault, any other the store's.
	Recall(ctx context.Context, q store.Query) (store.Answer, error)
	Capabilities() store.Capabilities
}

// Versioner is a Recaller that also knows which version of a memory it has. One whose Capabilities say Versions may be one:
// it keeps an older pending version from being shown where a newer one has overtaken it on the way to the store.
type Versioner interface {
	// Versions returns the version of each id in the space, 0 where it has none.
	Versions(ctx context.Context, space string, ids []string) ([]uint64, error)
}

// Pending shows what is accepted and not yet delivered.
type Pending interface {
	// Visit calls visit with the pending writes of a space, newest first, until it returns false. Whatever was durable when
	// Visit was called and is not visited was in the store before Visit returned. When ctx ends Visit returns its cause
	// soon: what was visited until then is right, but not all.
	Visit(ctx context.Context, space string, visit func(*wal.Record) bool) error
}

// Settlement tells what has become of the accepted observations of a session.
type Settlement interface {
	// Remaining counts those that are neither delivered nor dead, and those that are dead.
	Remaining(id wal.SessionID) (pending, dead uint64)
	// Through is the highest sequence such that it and all before it are settled.
	Through(id wal.SessionID) uint64
	// Rejected lists the dead ones with a sequence above after, up to through, ascending, at most limit of them.
	Rejected(id wal.SessionID, after, through uint64, limit int) []uint64
	// Changed is closed when something is settled after the call.
	Changed() <-chan struct{}
	// IsPending says whether the write at an index of the journal is durable and neither delivered nor dead.
	IsPending(index uint64) bool
}

// Lanes tells how full the way to the store is.
type Lanes interface {
	// Load describes one lane. It is called for each observation of a lane that has a limit.
	Load(lane wal.Lane) Load
}

// Load is how full one lane is.
type Load struct {
	Depth      uint64        // records that wait for the store
	Limit      uint64        // the lane's own limit in records; 0 for none
	Capacity   uint64        // what clients are told: the limit, or else the quota over the mean record size; never 0
	RetryAfter time.Duration // when there may be room again, from the measured drain rate; 0 where it is not known
}

// full says whether the lane's own limit is reached.
func (l Load) full() bool { return l.Limit > 0 && l.Depth >= l.Limit }

// Observer counts. Its methods are called on the way of an ack and must not block.
type Observer interface {
	// Acked counts n acks that were handed to the transport together, and the latency of the slowest since its arrival.
	Acked(n int, latency time.Duration)
	// Refused counts one refusal. See the Reason constants.
	Refused(reason string)
}

// Why something was refused, as counted.
const (
	ReasonSequence    = "sequence"
	ReasonInvalid     = "invalid"
	ReasonPaused      = "paused"
	ReasonOverloaded  = "overloaded"
	ReasonTooLarge    = "too_large"
	ReasonSession     = "session"
	ReasonUnavailable = "unavailable"
	ReasonDenied      = "denied"
)

// Deps are the rooms that the edge works with. Upstream, News, Observer and Logger may be nil.
type Deps struct {
	Journal    Journal
	Store      Recaller
	Pending    Pending
	Settlement Settlement
	Lanes      Lanes
	Upstream   Upstream // nil where the store is no Engram server
	News       *News    // where fates are reported; without it INDEXED acks come from the Settlement alone, when a session is drained

	Restored []session.Snapshot // sessions of the process before

	Tokens *access.Ring // what clients have to show; nil: whoever can connect may do everything
	TLS    *tls.Config  // nil: connections are in the clear

	Observer Observer
	Logger   hclog.Logger
}

func (d Deps) validate() error {
	if d.Journal == nil || d.Store == nil || d.Pending == nil || d.Settlement == nil || d.Lanes == nil {
		return errors.New("proxy: expected a journal, a store, the pending records, their settlement and the lanes; one is nil")
	}
	return nil
}

// OverJournal makes the Journal that the edge writes to out of the one on disk.
func OverJournal(j *wal.Journal) Journal { return journal{j} }

type journal struct{ *wal.Journal }

func (j journal) NewProducer() Producer { return j.Journal.NewProducer() }

type nobody struct{}

func (nobody) Acked(int, time.Duration) {}
func (nobody) Refused(string)           {}
