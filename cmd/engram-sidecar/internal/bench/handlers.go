package bench

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/pprof/profile"
)

// What the edge does for an observation, by the functions on the stack: the walk over its bytes, the session's rules, its
// place among the answers, the bytes of its ack. The transport is not in it, and what the journal does for a record is not.
var (
	handlers   = []string{"proxy.(*observation).handle", "proxy.(*pipe).learn", "proxy.(*sendBatch).collect"}
	notHandled = []string{"wal.(*Producer).Append"}
)

// profiled bounds for how long a profile is taken: long enough for a share of one in a hundred, and shorter than the admin
// server lets an answer take.
const profiled = 20 * time.Second

// handlerShare takes a profile of a sidecar's processor time for a while, and returns which share of one core its handlers
// had.
func handlerShare(ctx context.Context, admin string, d time.Duration) (float64, error) {
	seconds := max(int(min(d, profiled).Seconds()), 1)
	address := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", admin, seconds)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, fmt.Errorf("take a profile of the sidecar: %w", err)
	}
	defer response.Body.Close() //nolint:errcheck // it was read
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("take a profile of the sidecar: %s", response.Status)
	}
	p, err := profile.Parse(response.Body)
	if err != nil {
		return 0, fmt.Errorf("take a profile of the sidecar: %w", err)
	}
	return timeIn(p, handlers, notHandled).Seconds() / float64(seconds), nil
}

// timeIn is the processor time of all samples with one of the functions on the stack, and none of the others.
func timeIn(p *profile.Profile, functions, others []string) time.Duration {
	var sum int64
	for _, s := range p.Sample {
		if onStack(s, functions) && !onStack(s, others) {
			sum += s.Value[len(s.Value)-1] // the last type is time
		}
	}
	return time.Duration(sum)
}

func onStack(s *profile.Sample, functions []string) bool {
	for _, at := range s.Location {
		for _, line := range at.Line {
			for _, f := range functions {
				if strings.HasSuffix(line.Function.Name, f) {
					return true
				}
			}
		}
	}
	return false
}
