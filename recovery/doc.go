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
// # What it assumes
//
// One process at a time, which the lock file sees to. Batch N+1 is written only after the fsync of batch N returned, and a
// generation is begun only when all before it are synced. A directory is owned by the user that runs the process, and only
// that user may write to it. What the newest generation holds may be in the page cache alone: it is synced, and read again
// from the disk, before anything rests on it.
//
// # Torn or rotten
//
// A bad frame with a whole frame of a later batch behind it was acknowledged: it is damage. A bad frame in the last batch of
// the newest generation that was written to is what a crash leaves of a batch that was never acknowledged: it is cut, with
// what follows. Rot within the very last batch looks the same; it is told apart only where the ledger remembers the first
// record concerned to have been durable, and then nothing is cut. A batch that is cut may have held a released record: the
// generation that it names is still there.
//
// # The foundation
//
// The head of a generation holds the cumulative counters as they stood before it, and names the generations that must still
// be there. The newest good head, and the released records behind it, are the foundation; the records of the living
// generations and the ledger's fates make up the rest. Where the newest head is damaged, or a generation that must be there
// is not on the disk and not in the ledger's account either, the ledger's own totals are the foundation, if its file is good
// and not older than that head: the released record that would tell may have been in what is damaged.
//
// # How damage is counted
//
// Before the newest good head its count of accepted writes says how many are missing, behind it the ledger's does, up to the
// index where the file was last written. Where neither does, each missing record counts as a write: a loss is rather told
// too large than too small. A write whose fate the ledger knows is not lost with its frame; a dead letter is kept whole by
// whichever of journal and ledger still has it. A damaged record whose header is whole tells whose it was. One whose header
// is gone is named by the sequences that are missing around it, unless a released generation explains these.
//
// # Goroutines
//
// Segments are read and checked by a few at once, ahead of their turn, and accounted for by the caller's alone; they end
// before Open returns. The journal that Open returns has two, which State.Close ends.
//
// # What a crash does
//
// Each step can be cut short: the next start reads the same directory, or what is left of the same work, and comes to the
// same plan. In their order:
//
//   - making directories and FORMAT: an empty directory is begun again; FORMAT is the old one or the new one, and where it
//     is lost the heads tell the journal's identity;
//   - copying damaged segments into the quarantine: a copy has a temporary name until it is whole and durable, and is made
//     once for each generation;
//   - cutting the torn tail: the copy is durable first; cut short behind that, the next start makes another copy;
//   - deleting generations: what is half deleted is not among those that must be there, and is deleted again;
//   - trimming the quarantine, to 32 copies and 256 MiB, the oldest first;
//   - rebuilding and writing the ledger: see that package; a file that proves damaged only now is set aside, and the plan is
//     made anew from the journal alone, once;
//   - opening the journal: it begins a new generation, which counts for nothing until its first batch is durable. Indexes
//     and numbers of generations go on above all that ever may have been, so that nothing is told of twice.
package recovery
