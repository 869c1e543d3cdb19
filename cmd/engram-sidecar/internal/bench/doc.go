// Package bench is the work behind `engram-sidecar bench`: it puts a load on a sidecar of its own and on what the sidecar is
// to be compared with, turn by turn, and tells how they differ.
//
// # What it promises
//
// Every server and every client is a process of its own, started from this binary, and they talk over loopback. The same
// client puts the same load on all of them, with messages that were made beforehand, so that it is the server that is
// measured. What is compared is compared within one run: a machine that is slow today is slow for all of them. Every ack is
// counted, and each stream checks at its end that it got one for each observation, in order; a run in which one is missing
// is an error and no figure.
//
// The subjects (see Subject): an echo over gRPC; a durable echo, which answers when the bytes it got are appended to one
// file and synced, many at a time; the same bytes appended and synced without gRPC; the journal alone; the sidecar with its
// store away, and with a store; a store without the sidecar.
//
// # What it assumes
//
// Linux: CPU time, memory and system calls of a process are read from /proc. The directory that it measures in is on the
// kind of disk that a data directory would be on. Nothing else keeps the machine busy; where something does, absolute
// figures are worth little and ratios still something.
//
// # Goroutines and crashes
//
// Run and Standard own the processes that they start and the goroutines that listen to them, and end all of them before they
// return. A part that loses its parent ends when its stdin does. What is on disk is below one directory, removed at the end;
// after a crash it stays, under the name engram-sidecar-bench-*.
package bench
