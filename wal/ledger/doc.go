// Package ledger is the account of the journal: what became of each write, which sessions there are, which letters are
// dead. It is an index of the journal and never the truth: what it says is in memory, its bbolt file is written in the
// background, and a file that is lost or damaged is built anew from the journal's records.
//
// # What it promises
//
// The balance: accepted = delivered + pending + dead + dropped + damaged, to the unit, whatever was released, restarted or
// lost. No session, closed mark, dead letter or count depends on the file alone for longer than until its generation is
// released: what only a generation can tell is carried forward into the journal first (sessions, letters whole, and tombs,
// which are the expiries and late fates that an older generation must not undo). Losing the file costs redelivery of what
// was not yet released, and nothing else.
//
// # What it assumes
//
// Records are applied in the order of the journal. Stores take the same record twice without harm. Within a session records
// are settled in the order of their sequence. The file's pages may rot: each value ends in a checksum over key and value,
// and every use of bbolt is guarded against its panics and against faults of mapped memory.
//
// # Goroutines
//
// Run is the keeper, the caller's goroutine: it flushes four times a second while something changes, and releases
// generations. Committed, Settle and Bury only change memory and never wait for the disk. Lock order: moving, then mu.
//
// # What a crash does
//
//   - before a flush: what was settled since the last one is delivered again;
//   - within a flush: bbolt's transaction is there or not;
//   - between carrying and the released frame: the same is told twice, the newest wins;
//   - between the released frame and the deletion: the next start deletes;
//   - while the file is made: it is made whole under a temporary name, closed, renamed, and its directory synced.
//
// A generation is released only where carrying costs no more than half of what it gives back, so that nothing is copied
// for ever, and what stays for want of it is at most twice what is alive. A stuck write pins its own generation only.
package ledger
