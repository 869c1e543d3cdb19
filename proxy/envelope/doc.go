// Package envelope reads and writes engram.v1 messages where they lie, in their wire bytes.
//
// An observation is 3 KB of floats with a few strings around them. Decoding it into an object and encoding it again would
// cost more than everything else the edge does with it, and would change the bytes. So the edge walks them once: which
// operation, which session and sequence, is it well formed, is the embedding 768 finite floats. What it learns are views
// into the bytes, which travel on verbatim, into the journal and out of it to the store.
//
// # What it promises
//
// What a Scan function accepts, every decoder of the protocol accepts, and all of them read the same values out of it.
// That is more than well-formed wire data. Strings are valid UTF-8. A field this package knows has the wire type its
// definition says (the Go decoder would pass a wrong one over as unknown, the Rust decoder of an Engram server would
// refuse the whole message, after it had been acked). No embedded message comes twice (decoders would merge the two), no
// oneof is set twice. Groups in unknown fields nest at most 32 deep (the Rust decoder gives up at 100). Scalars that come
// twice are fine, the last one wins, everywhere; [AppendEpisodeID] and its kin rest on it.
//
// Beyond the wire: 768 finite floats, ids of at most 256 bytes, confidences in [0, 1], timestamps in the range of
// google.protobuf.Timestamp. Other numbers (importance, decay rates, enums) pass as they come. How large a message may be
// is the caller's to say; time and memory are linear in its size.
//
// Refusals are a [*FieldError], which names the field, what was expected and what came, or [ErrMalformed] where there is
// no telling fields apart. Neither ever holds more than 64 bytes of the client's text.
//
// # What it assumes
//
// Views alias the scanned bytes: they hold as long as nobody changes those. Nothing is allocated unless a message is
// refused; the answers' encoders append to the caller's buffer.
//
// There are no goroutines here and no state: every function may be called from anywhere at any time, as long as two calls
// do not fill one struct. Nothing here touches a disk, so a crash does nothing.
package envelope
