// Command demo shows the sidecar's promise on a real text: it streams some thousands of sentences with
// `engram-sidecar observe`, kills the sidecar with SIGKILL three times on the way, and then reads back everything that the
// store holds.
//
//	go run ./integration/demo
//
// # What it promises
//
// What it prints at the end is counted, not assumed. Acked is what the client was told. Stored, missing and duplicates come
// from reading the whole store over the sidecar's public protocol, and comparing the texts with those that were sent. It
// exits with 1 when an acknowledged sentence is missing, is there twice, or is not the one that was sent.
//
// How everything is read back: a recall returns the memories on the near side of its vector (cosine 0 or more), as many as
// asked for. So the recalls of one vector and of its opposite together return every memory there is. The sidecar makes
// the ids here, from session and sequence: a sentence that was sent twice under two sequences would show as two memories.
//
// # What it assumes
//
// A Go installation, which it builds the sidecar with and whose test data holds the text: Isaac Newton's Opticks, fourth
// edition of 1730, in the public domain (another text can be named with -text). Two free loopback ports.
//
// # Goroutines and crashes
//
// One goroutine feeds the client's stdin and ends with it; the processes it starts are killed when it ends. Everything it
// writes is in one temporary directory.
package main
