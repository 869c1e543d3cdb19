package wal

import (
	"reflect"

	tidwall "github.com/tidwall/wal"
)

// tail is the part of its segment that a tidwall.Log keeps in memory. It keeps all that was ever appended, in a slice that
// grows by a quarter when it is full, so that five bytes are allocated and four copied for each that is written; what it
// is kept for is Read and the truncations, which the journal never calls. So the committer takes the slice away after each
// batch and hands it on to the next generation: the batch to come finds it empty and large enough.
//
// That is sound because WriteBatch asks the slice for nothing but its length: where the bytes of this batch begin in it, and
// whether the segment is full, which it never is. Where in the file they go the descriptor knows, and which index comes next
// the log itself; Sync and Close do not look at it. A write that fails leaves its bytes in the slice, and they would be taken
// for written: after one there is no other to that log (goOnElsewhere, failBatch).
//
// The library has no call for that. Its fields are looked up by name and type; where they are not what this version of it
// has, they are left alone, and the journal is slower and just as right. A test says which.
type tail struct {
	entries   *[]byte       // of tidwall's last segment
	positions reflect.Value // of the entries in it
}

// tailOf finds the tail of a log that has just been opened; a zero tail is left alone.
func tailOf(log *tidwall.Log) tail {
	segments := reflect.ValueOf(log).Elem().FieldByName("segments")
	if !segments.IsValid() || segments.Kind() != reflect.Slice || segments.Len() != 1 {
		return tail{}
	}
	segment := segments.Index(0)
	if segment.Kind() != reflect.Pointer || segment.Elem().Kind() != reflect.Struct {
		return tail{}
	}
	entries, positions := segment.Elem().FieldByName("ebuf"), segment.Elem().FieldByName("epos")
	if !entries.IsValid() || entries.Type() != reflect.TypeFor[[]byte]() || !positions.IsValid() || positions.Kind() != reflect.Slice {
		return tail{}
	}
	return tail{
		entries:   (*[]byte)(entries.Addr().UnsafePointer()),
		positions: reflect.NewAt(positions.Type(), positions.Addr().UnsafePointer()).Elem(),
	}
}

// reserve makes room for a batch, so that the slice need not grow step by step.
func (t *tail) reserve(bytes int) {
	if t.entries != nil && cap(*t.entries) < bytes {
		*t.entries = make([]byte, 0, bytes+bytes/4)
	}
}

// forget empties the tail after a batch was written, and keeps its memory for the next, but for what an unusually large
// batch took.
func (t *tail) forget() {
	if t.entries == nil {
		return
	}
	*t.entries = (*t.entries)[:0]
	spoil(*t.entries)
	if cap(*t.entries) > keptTail {
		*t.entries = nil
	}
	t.positions.SetLen(0)
}

// keptTail bounds the memory of the tail between two batches: that of the largest batch of small records.
const keptTail = defaultBatchBytes + defaultBatchBytes/2

// inherit takes over the memory of the tail before it, whose log is at its end. The generation stands in the table for as long
// as it is not released, and must not keep tidwall's memory alive.
func (t *tail) inherit(old *tail) {
	if t.entries != nil && old.entries != nil {
		*t.entries, *old.entries = (*old.entries)[:0], nil
	}
	*old = tail{}
}
