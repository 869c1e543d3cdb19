package admin

import (
	"context"
	"encoding/json"
	"time"
)

// How often a sample is taken, how many are kept for a page that is opened later, and over how many the latencies are taken.
const (
	sampleEvery = time.Second
	samplesKept = 600
	latencySpan = 10
)

// Sample is one moment on the dashboard's charts.
type Sample struct {
	At        int64    `json:"at"`        // Unix time in milliseconds
	Accepted  float64  `json:"accepted"`  // records a second since the sample before
	Delivered float64  `json:"delivered"` // likewise
	Refused   float64  `json:"refused"`   // likewise
	AckP50    *float64 `json:"ack_p50"`   // seconds, of the last 10 s; null without an ack
	AckP99    *float64 `json:"ack_p99"`
	FsyncP50  *float64 `json:"fsync_p50"` // likewise, of the journal's commits
	FsyncP99  *float64 `json:"fsync_p99"`
	Pressure  float64  `json:"pressure"` // 0 to 1
	Bytes     uint64   `json:"bytes"`    // of the journal
	Quota     uint64   `json:"quota"`
	High      int      `json:"high"` // records that wait, by lane
	Normal    int      `json:"normal"`
	Low       int      `json:"low"`
	Oldest    float64  `json:"oldest"` // seconds
}

// update is what every page is sent for each sample.
type update struct {
	Sample  Sample `json:"sample"`
	Status  Status `json:"status"`
	Damages int    `json:"damages"` // all there are; the status holds the first of them
}

// damagesShown bounds what a page is told of a very bad disk.
const damagesShown = 20

// sampler takes the status once a second, however many pages look on. It belongs to the goroutine of run.
type sampler struct {
	server *Server
	last   Status
	at     time.Time
	acks   []buckets // the newest last, latencySpan of them before it
	fsyncs []buckets
}

func (s *sampler) run(ctx context.Context) {
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	defer s.server.feed.close()
	for {
		select {
		case now := <-ticker.C:
			s.server.feed.publish(s.sample(now))
		case <-ctx.Done():
			return
		}
	}
}

// sample takes one, and the message that tells it.
func (s *sampler) sample(now time.Time) (Sample, []byte) {
	status := s.server.Status()
	out := Sample{
		At: now.UnixMilli(), Pressure: status.Journal.Pressure, Bytes: status.Journal.Bytes, Quota: status.Journal.Quota,
		Oldest: status.Store.Oldest,
	}
	for _, lane := range status.Lanes {
		switch lane.Name {
		case "high":
			out.High = lane.Depth
		case "normal":
			out.Normal = lane.Depth
		case "low":
			out.Low = lane.Depth
		}
	}
	s.rates(&out, status, now)
	s.latencies(&out)
	u := update{Sample: out, Status: status, Damages: len(status.Recovery.Damages)}
	if u.Damages > damagesShown {
		u.Status.Recovery.Damages = status.Recovery.Damages[:damagesShown]
	}
	text, err := json.Marshal(u)
	if err != nil { // a number that JSON cannot say: there is nothing to show of this second
		text = nil
	}
	return out, text
}

func (s *sampler) rates(out *Sample, status Status, now time.Time) {
	seconds := now.Sub(s.at).Seconds()
	if !s.at.IsZero() && seconds > 0 && s.last.State == StateServing {
		out.Accepted = rise(s.last.Balance.Accepted, status.Balance.Accepted) / seconds
		out.Delivered = rise(s.last.Balance.Delivered, status.Balance.Delivered) / seconds
		out.Refused = rise(sum(s.last.Edge.Refused), sum(status.Edge.Refused)) / seconds
	}
	s.last, s.at = status, now
}

// rise is by how much a counter has risen.
func rise(before, now uint64) float64 {
	if now < before {
		return 0
	}
	return float64(now - before)
}

func sum(counts map[string]uint64) (total uint64) {
	for _, n := range counts {
		total += n
	}
	return total
}

func (s *sampler) latencies(out *Sample) {
	out.AckP50, out.AckP99 = slide(&s.acks, bucketsOf(s.server.metrics.ack))
	out.FsyncP50, out.FsyncP99 = slide(&s.fsyncs, bucketsOf(s.server.metrics.fsync))
}

// slide moves the window on, and returns the quantiles of what is in it.
func slide(window *[]buckets, now buckets) (p50, p99 *float64) {
	*window = append(*window, now)
	if over := len(*window) - latencySpan - 1; over > 0 {
		*window = append((*window)[:0], (*window)[over:]...)
	}
	within := now.since((*window)[0])
	return within.quantile(0.5), within.quantile(0.99)
}
