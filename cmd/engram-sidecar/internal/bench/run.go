package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"github.com/engram-sidecar/engram-sidecar/proxy/admin"
)

// Run is what one subject did in one turn.
type Run struct {
	Subject Subject `json:"subject"`
	Acked   uint64  `json:"acked"`        // while it was counted
	Rate    float64 `json:"a_second"`     // acked, or with a store delivered
	AckRate float64 `json:"acked_second"` // acked
	Latency Latency `json:"latency"`      // of acks, or of batches where there is no client

	ServerCPU float64 `json:"server_cpu"`      // seconds an observation; of what drives itself, too
	ClientCPU float64 `json:"client_cpu"`      // seconds an observation
	Syscalls  float64 `json:"server_syscalls"` // reads and writes an observation
	Written   float64 `json:"server_written"`  // bytes to the disk an observation
	PeakRSS   uint64  `json:"server_peak_rss"` // bytes

	// Handlers is the share of one core that the sidecar's handlers took; 0 where no profile was taken.
	Handlers float64 `json:"handler_share,omitempty"`

	histogram *hdrhistogram.Histogram
}

// bench is what the turns have in common.
type bench struct {
	dir  string // below which each turn has a directory of its own
	tell func(done time.Duration, what string)
}

// turn measures one subject once.
func (b *bench) turn(ctx context.Context, s Subject, o *Options) (Run, error) {
	dir, err := os.MkdirTemp(b.dir, "turn-")
	if err != nil {
		return Run{}, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the whole of b.dir is removed at the end
	t := turn{bench: b, subject: s, load: o.Load, dir: dir, batch: o.Batch, backlog: o.Backlog, profile: o.Profile}
	run, err := t.run(ctx)
	if err != nil {
		return Run{}, fmt.Errorf("measure %s: %w", s, err)
	}
	return run, nil
}

type turn struct {
	*bench
	subject Subject
	load    Load
	dir     string
	batch   int
	backlog uint64
	profile bool
	share   chan shareOrFailed // of the handlers; nil without a profile

	server, client, store *process
	admin                 string
}

// stopAll ends what is left of the turn's processes, the client first.
func (t *turn) stopAll() {
	for _, c := range []*process{t.client, t.server, t.store} {
		if c != nil {
			c.stop()
		}
	}
}

func (t *turn) run(ctx context.Context) (Run, error) {
	defer t.stopAll()
	watch, err := t.start(ctx)
	if err != nil {
		return Run{}, err
	}
	r := Run{Subject: t.subject}
	var began, ended [2]usage
	var start time.Time
	for {
		e, err := watch.next(ctx)
		switch {
		case err != nil:
			return Run{}, err
		case e.Begun:
			start = time.Now()
			t.beginProfile(ctx)
			began, err = t.used()
		case e.Ended:
			ended, err = t.used()
		case e.Result != nil:
			if err := t.fill(ctx, &r, e.Result, [2]usage{ended[0].minus(began[0]), ended[1].minus(began[1])}); err != nil {
				return Run{}, err
			}
			return r, nil
		case e.Acked > 0:
			since := time.Since(start)
			t.tell(since, fmt.Sprintf("%s %s/s", t.subject, count(float64(e.Acked)/since.Seconds())))
		}
		if err != nil {
			return Run{}, err
		}
	}
}

// shareOrFailed is what came of a profile.
type shareOrFailed struct {
	share float64
	err   error
}

// beginProfile takes a profile beside the load; fill waits for it.
func (t *turn) beginProfile(ctx context.Context) {
	if !t.profile || t.admin == "" {
		return
	}
	t.share = make(chan shareOrFailed, 1)
	go func() { // ends with the profile, or with ctx
		share, err := handlerShare(ctx, t.admin, t.load.Duration)
		t.share <- shareOrFailed{share, err}
	}()
}

// start begins the turn's processes, and returns the one that counts.
func (t *turn) start(ctx context.Context) (watch *process, err error) {
	if r, ok := t.subject.alone(); ok {
		t.server, err = startPart(ctx, part{Role: r, Dir: t.dir, Batch: t.batch, Load: t.load})
		return t.server, err
	}
	address, err := t.serve(ctx)
	if err != nil {
		return nil, err
	}
	if t.backlog > 0 && t.subject == Sidecar {
		if err := fillUp(ctx, address, t.backlog, &t.load); err != nil {
			return nil, err
		}
	}
	t.client, err = startPart(ctx, part{Role: roleDrive, Address: address, Protocol: t.subject.protocol(), Load: t.load})
	return t.client, err
}

// serve starts the server and what it needs, and returns its address.
func (t *turn) serve(ctx context.Context) (address string, err error) {
	if r := t.subject.server(); r != "" {
		if t.server, err = startPart(ctx, part{Role: r, Dir: t.dir}); err != nil {
			return "", err
		}
		return t.server.address(ctx)
	}
	engram := ""
	if t.subject == ToEngram {
		if t.store, err = startPart(ctx, part{Role: roleEngram}); err != nil {
			return "", err
		}
		if engram, err = t.store.address(ctx); err != nil {
			return "", err
		}
	}
	quota, err := quotaIn(t.dir)
	if err != nil {
		return "", err
	}
	var more []string
	if t.profile {
		more = []string{"--pprof"}
	}
	t.server, address, t.admin, err = startSidecar(ctx, t.dir, t.subject.store(engram), quota, more...)
	return address, err
}

// quotaIn is what the journal of a sidecar may take: half of what is free, however much that is, for a backlog that grows as
// long as the load lasts must not be what is measured.
func quotaIn(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("ask for the free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize / 2, nil //nolint:gosec // no disk has 8 EiB
}

// fillUp gives a sidecar so many observations, from a client of its own.
func fillUp(ctx context.Context, address string, n uint64, like *Load) error {
	load := DefaultLoad()
	load.Window, load.Count, load.Size = 512, n, like.Size
	c, err := startPart(ctx, part{Role: roleDrive, Address: address, Protocol: ProtocolObserve, Load: load})
	if err != nil {
		return err
	}
	defer c.stop()
	for {
		e, err := c.next(ctx)
		if err != nil || e.Result != nil {
			return err
		}
	}
}

// used is what server and client have used so far.
func (t *turn) used() (both [2]usage, err error) {
	var errs [2]error
	both[0], errs[0] = t.server.used()
	both[1], errs[1] = t.client.used()
	return both, errors.Join(errs[:]...)
}

// fill makes the run's figures of what was counted and used.
func (t *turn) fill(ctx context.Context, r *Run, m *measured, used [2]usage) error {
	if m.Acked == 0 || m.Seconds <= 0 {
		return errors.New("nothing was acked while it was counted: expected a longer --duration, or a server that answers")
	}
	n := float64(m.Acked)
	r.Acked, r.AckRate = m.Acked, n/m.Seconds
	r.Rate = r.AckRate
	r.ServerCPU, r.ClientCPU = used[0].cpu.Seconds()/n, used[1].cpu.Seconds()/n
	r.Syscalls, r.Written = float64(used[0].syscalls)/n, float64(used[0].written)/n
	var err error
	if r.histogram, err = hdrhistogram.Decode(m.Histogram); err != nil {
		return fmt.Errorf("the client's histogram: %w", err)
	}
	r.Latency = latencyOf(r.histogram)
	if t.share != nil {
		s := <-t.share
		if s.err != nil {
			return s.err
		}
		r.Handlers = s.share
	}
	if t.subject.delivers() {
		if err := t.drained(ctx, r, m); err != nil {
			return err
		}
	}
	if _, ok := t.subject.alone(); !ok {
		_, r.PeakRSS, err = t.server.memory()
	}
	return err
}

// drained waits until the store has everything, and tells how many a second went all the way, from the first observation to
// the last: a backlog that grew while it was acked counts against it.
func (t *turn) drained(ctx context.Context, r *Run, m *measured) error {
	left := uint64(0)
	began := time.Now()
	for {
		s, err := statusOf(ctx, t.admin)
		if err != nil {
			return err
		}
		if s.Balance.Pending == 0 {
			if s.Balance.Delivered < m.Total {
				return fmt.Errorf("the store has %d of %d observations: %d are dead", s.Balance.Delivered, m.Total, s.Balance.Dead)
			}
			break
		}
		left = max(left, s.Balance.Pending)
		wait(ctx, 2*time.Millisecond)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	all := t.load.Warmup.Seconds() + m.Seconds + time.Since(began).Seconds()
	r.Rate = float64(m.Total) / all
	return nil
}

func statusOf(ctx context.Context, address string) (s admin.Status, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/api/status", nil)
	if err != nil {
		return s, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return s, fmt.Errorf("ask the sidecar for its status: %w", err)
	}
	defer response.Body.Close() //nolint:errcheck // it was read
	if err := json.NewDecoder(response.Body).Decode(&s); err != nil {
		return s, fmt.Errorf("ask the sidecar for its status: %w", err)
	}
	return s, nil
}
