// Package abuse talks to the real binary as no client should: broken frames, floods, bombs, fuzzed messages, clients that
// never read.
//
// What it promises: through each of these the process goes on, no call fails inside it (its own count of panics stays 0), its
// memory (VmRSS of /proc) grows by less than a bound that the test states, and a well-behaved client on a connection of its
// own gets every one of its writes acknowledged. How long that client waits is logged and not judged: that depends on the
// machine.
//
// What it assumes: loopback, /proc, and the Go toolchain that builds the binary. Goroutines belong to their test, which waits
// for them; a crash of the test process leaves at most a sidecar with a temporary directory.
//
// Environment:
//
//	NIGHTLY=1   every test at its full length
package abuse
