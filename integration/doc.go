// Package integration tests the real binary from outside: it builds engram-sidecar once, runs it as a process, speaks
// gRPC and HTTP to it as any application would, and kills it with SIGKILL. It imports the generated protocol, the harness
// that it shares with the folders beside it, and nothing else of this module, so that what it proves holds for a client
// that knows only the wire.
//
// What it promises: a run that passes was checked by the harness's oracle against everything the clients were told and
// everything the store received. The oracle's own tests show that each invariant can fail, and the TestCrashCatches…
// tests that a sidecar which breaks its promise is found out.
//
// What it assumes: loopback ports between 20000 and 32000 are free enough to find some, and the Go toolchain is there to
// build the binary. The recorder (clients and the fake Engram store) lives in the test process, which nothing kills.
//
// Goroutines: each client, the fake store and the log reader of each process belong to the test that started them, which
// waits for them before it ends. A crash of the test process leaves at most one sidecar running; it holds only a
// temporary directory.
//
// Environment:
//
//	ENGRAM_CRASH_KILLS   how often TestCrash kills the sidecar (50)
//	ENGRAM_CRASH_SEED    the seed of a run to repeat, as it was printed
//	GOCOVERDIR           builds the binary with -cover; processes that end in peace leave their coverage there
//	REQUIRE_TOOLS=1      a missing outside tool fails its test instead of skipping it
package integration
