// Package tools runs the operator's commands of the real binary, from outside, on directories that kill -9, a rotten bit and
// a full load have left, and lets the oracle judge what comes back.
//
// What it promises: what was acknowledged is in an export, a backup and what was restored from it, each once; a look changes
// nothing. What it assumes: nothing but the Go toolchain that builds the binary. Goroutines belong to their test, which waits
// for them; a crash of the test process leaves a temporary directory.
package tools
