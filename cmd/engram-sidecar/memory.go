package main

import (
	"context"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/engram-sidecar/engram-sidecar/cmd/engram-sidecar/internal/actor"
)

// gcPercent is how much the heap may grow between two collections, in percent of what is alive.
const gcPercent = 200

// cgroupLimit is where a container's memory limit stands, as seen from inside it.
const cgroupLimit = "/sys/fs/cgroup/memory.max"

// memoryLimit is what the Go runtime should stay below: three quarters of what the machine or the container has, so that
// the collector works harder before the kernel kills us.
func memoryLimit(cgroupFile string) int64 {
	limit := int64(math.MaxInt64)
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err == nil {
		limit = int64(info.Totalram) * int64(info.Unit) //nolint:gosec // no machine has 8 EiB
	}
	if text, err := os.ReadFile(cgroupFile); err == nil {
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil { // else it says max
			limit = min(limit, n)
		}
	}
	if limit == math.MaxInt64 {
		return limit
	}
	return limit / 4 * 3
}

// What the runtime may take while little is alive, and how much more than twice what is alive otherwise; in bytes.
const (
	modestMemory = 192 << 20
	spareMemory  = 64 << 20
)

// modest is the limit for a process of which so much is alive, and so much is not the heap's: a burst of observations leaves
// garbage, and the heap would grow to three times what is alive for nothing. The limit is never so near to what is alive that
// the collector works for its own sake.
func modest(live, other, most int64) int64 {
	return min(max(modestMemory, 2*live+other+spareMemory), most)
}

// beginMemory holds the memory modest, but where the environment says how much there may be.
func beginMemory(parts *actor.Group) error {
	if os.Getenv("GOMEMLIMIT") == "" {
		parts.Go("memory", holdMemory)
	}
	return nil
}

// holdMemory keeps the runtime's limit modest until ctx ends.
func holdMemory(ctx context.Context) error {
	most := memoryLimit(cgroupLimit)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	defer debug.SetMemoryLimit(most)
	for {
		debug.SetMemoryLimit(modest(inUse(), outsideHeap(), most))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// inUse is what the last collection found alive, in bytes.
func inUse() int64 { return measure("/gc/heap/live:bytes") }

// outsideHeap is what the runtime has from the system for stacks and for itself, in bytes.
func outsideHeap() int64 {
	return measure("/memory/classes/total:bytes") - measure("/memory/classes/heap/objects:bytes") -
		measure("/memory/classes/heap/unused:bytes") - measure("/memory/classes/heap/free:bytes") -
		measure("/memory/classes/heap/released:bytes")
}

func measure(name string) int64 {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return int64(sample[0].Value.Uint64()) //nolint:gosec // a size in memory
}
