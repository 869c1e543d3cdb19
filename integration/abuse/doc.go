// Package abuse talks to the real binary as no client should: broken frames, floods, bombs, fuzzed messages, clients that
// never read.
//
// What it promises: through each of these the process goes on, no call fails inside it (its own count of panics stays 0), its
// memory (VmRSS of /proc) grows by less than a bound that the test states, and a well-behaved client on a connection of its
// own gets every one of its writes acknowledged. How long that client waits is told, and judged where MEASURE=1 asks for it:
// in the median of five rounds of an attack its p99 at most doubles.
//
// Attackers run in a process of their own at nice 19, so that what the client waits for is the sidecar, and not what the
// attacker itself takes of the same processors.
//
// What it assumes: loopback, /proc, and the Go toolchain that builds the binary. Goroutines belong to their test, which waits
// for them; a crash of the test process leaves at most a sidecar with a temporary directory.
//
// Environment:
//
//	NIGHTLY=1      every test at its full length
//	MEASURE=1      five rounds of each attack, and the waits are judged; for a machine where nothing else runs
//	ABUSE_TARGET   set for the attacker's process alone: the sidecar's two addresses
package abuse
