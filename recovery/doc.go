// Package recovery makes a data directory consistent: it turns whatever a crash, a full disk or a rotten one left into a
// journal that takes records and a ledger that fits it, and reports what it found.
//
// # What it promises
//
// Nothing is changed before everything has been read and found fit. A directory that another process holds, that a newer
// version wrote, or that is damaged while strict is set, stays as it is, to the byte. Otherwise the start succeeds: a torn
// tail is cut (a copy is kept), generations that were released or never used are deleted, a lost ledger is rebuilt, and
// damage is named by file, offset, session and sequence as far as can be known, counted in the balance, copied into the
// quarantine, and gone on from. A session resumes at the highest sequence that journal or ledger prove, never below. What
// was found damaged once is not counted again at the next start.
//
// # Torn or rotten
//
// Batch N+1 is written only after the fsync of batch N returned. A bad frame with a whole frame of a later batch behind it
// was therefore acknowledged: it is damage. A bad frame in the last batch of the newest generation is what a crash leaves of
// a batch that was never acknowledged: it is cut. Rot within the very last batch looks the same; it is told apart only where
// the ledger remembers a later index to have been durable.
//
// # How the counters survive
//
// The head of a generation holds the cumulative counters as they stood before it, and names the generations that must still
// be there. The newest good head, and the released records behind it, are the foundation; the records of the living
// generations and the ledger's fates make up the rest.
//
// # Goroutines
//
// It starts none of its own; the journal that Open returns has two, which State.Close ends.
//
// # What a crash does
//
// Each step can be cut short: the next start reads the same directory, or what is left of the same work, and comes to the
// same state. A copy goes into the quarantine, and is durable, before what it is a copy of is cut.
package recovery
