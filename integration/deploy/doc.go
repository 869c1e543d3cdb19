// Package deploy tries what docs/deploy offers on the real binary: alert rules in a real Prometheus, dashboards against the
// metrics there are.
//
// What it promises: each alert fires on a sidecar to which its cause was done, and stops when the cause is gone. What it
// assumes: Debian's package prometheus, for what needs it; a test without it is skipped by name, or fails with
// REQUIRE_TOOLS=1. Prometheus runs on a loopback port, and minutes are seconds to it. Goroutines and processes belong to
// their test, which waits for them; a crash of the test process leaves temporary directories.
package deploy
