package bench

import (
	"testing"
	"time"

	"github.com/google/pprof/profile"
)

func TestTheHandlersShareIsOfTheirStacks(t *testing.T) {
	sample := func(d time.Duration, stack ...string) *profile.Sample {
		s := &profile.Sample{Value: []int64{1, int64(d)}}
		for _, name := range stack {
			s.Location = append(s.Location, &profile.Location{Line: []profile.Line{{Function: &profile.Function{Name: name}}}})
		}
		return s
	}
	const ours = "github.com/engram-sidecar/engram-sidecar/proxy."
	p := &profile.Profile{Sample: []*profile.Sample{
		sample(time.Second, "runtime.memmove", ours+"(*observation).handle", ours+"(*observation).receiveAll"),
		sample(2*time.Second, ours+"(*sendBatch).collect", ours+"(*pipe).send"),
		sample(16*time.Second, "hash/crc32.update", "github.com/engram-sidecar/engram-sidecar/wal.(*Producer).Append", ours+"(*observation).handle"),
		sample(4*time.Second, "syscall.Write", ours+"(*pipe).send"),
		sample(8 * time.Second),
	}}
	if got := timeIn(p, handlers, notHandled); got != 3*time.Second {
		t.Errorf("%v are the handlers', want 3s", got)
	}
}
