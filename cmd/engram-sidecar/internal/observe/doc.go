// Package observe is the client behind `engram-sidecar observe`: it reads lines, makes an observation of each, streams
// them with a window of unacknowledged ones, and survives the loss of its connection.
//
// # What it promises
//
// What it counts as acked, the sidecar has acknowledged: by an ack, or by resuming the session at or beyond it. An
// observation leaves memory only then; after a lost connection those still owed are sent again, under the same sequence
// numbers, and so under the same ids. A sidecar that resumes below what it acknowledged is reported as a loss, loudly.
//
// Memory is bounded: a window of observations, a few lines read ahead, and one histogram, however long the input is.
//
// # What it assumes
//
// Each line gives one observation, in order, so that reading the same input again gives the same sequence numbers; that is
// what Config.FromStart relies on. Nobody else feeds the session at the same time (the sidecar fences one of the two).
//
// # Goroutines and crashes
//
// Run owns three: one reads lines, and one each sends and receives on the present connection. It waits for the last two. The
// first may be stuck in a read of a terminal that nothing can interrupt; it holds no resources but its line and ends with
// its input. A crash of this process loses what was read and not acked: run it again with the session's id.
package observe
