package main

import (
	"math"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
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
