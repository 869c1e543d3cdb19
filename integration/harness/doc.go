// Package harness is what the black-box tests share: the real binary as a process (Sidecar), an application that observes
// through it (Client), the Engram server behind it (Engram), and the oracle that judges what the one was told by what the
// other received. It knows the wire and the command line, and imports nothing of this module but the generated protocol.
//
// What it promises: an ack counts only if the client read it before the fault. A power cut that is simulated on a running
// kernel may answer success to an fsync that did nothing; Epoch closes the book before such a fault, for acks and for
// deliveries.
//
// What it assumes: loopback ports between 20000 and 32000, and the Go toolchain to build the binary.
//
// Goroutines: each Client.Run belongs to its caller; the fake store and the waiter for each process belong to the test that
// started them, and end before it does. A crash of the test process leaves at most a sidecar with a temporary directory.
package harness
