package faults

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// needs skips a test whose means this machine lacks, by the name of what is missing; with REQUIRE_FAULTS=1 it fails.
func needs(t testing.TB, means ...string) {
	t.Helper()
	for _, m := range means {
		why := missing(m)
		switch {
		case why == "":
		case os.Getenv("REQUIRE_FAULTS") == "1":
			t.Fatalf("REQUIRE_FAULTS=1: %s", why)
		default:
			t.Skip(why)
		}
	}
}

// missing says why a means is not there, or nothing.
func missing(means string) string {
	switch means {
	case "root":
		if os.Geteuid() != 0 {
			return "root: mounting needs it, this is uid " + strconv.Itoa(os.Geteuid())
		}
	case "loop":
		return absent("/dev/loop-control", "loop devices: ")
	case "fuse":
		return absent("/dev/fuse", "FUSE: ")
	default:
		if _, err := exec.LookPath(means); err != nil {
			return means + ": " + err.Error()
		}
	}
	return ""
}

func absent(device, what string) string {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return what + err.Error()
	}
	_ = f.Close() // nothing was done with it
	return ""
}

// sized is how much of a test runs: a sample in CI, all of it at night.
func sized(sample, full int) int {
	if os.Getenv("NIGHTLY") == "1" {
		return full
	}
	return sample
}

// newRandom seeds the choices of one test, and says how to repeat them.
func newRandom(t testing.TB) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano()) & 0x7fffffff
	if text := os.Getenv("FAULTS_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("FAULTS_SEED=%q: expected a number", text)
		}
		seed = n
	}
	t.Logf("seed %d (FAULTS_SEED=%d repeats its choices)", seed, seed)
	return rand.New(rand.NewPCG(seed, 1))
}
