// Package proto is the root of the protocol definitions; it holds no code of its own but the checks on them.
//
// It promises that the generated Go code beside each .proto file is what the pinned generators make of it, and that
// every field number and type is the one the Engram wire protocol fixes (testdata/wire.txt). Both are tests.
//
// After changing a comment in a .proto file run `make generate` and commit what it changed. Messages, fields and
// numbers are not ours to change.
package proto

//go:generate ./generate.sh
