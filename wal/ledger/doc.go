// Package ledger is the account of the journal: what became of each write, which sessions there are, which letters are
// dead. It is an index of the journal and never the truth: what it says is in memory, its bbolt file is written in the
// background, and a file that is lost or damaged is built anew from the journal's records.
//
// # What it promises
//
// The balance: accepted = delivered + pending + dead + dropped + damaged, to the unit, whatever was released, restarted or
// lost. No session, closed mark, dead letter or count depends on the file alone for longer than until its generation is
// released: what only a generation can tell is carried forward into the journal first. Losing the file costs redelivery of
// what was not yet released, and nothing else: dead letters that were never carried are delivered again too, and die again.
//
// # What it assumes
//
// Records are applied in the order of the journal. Stores take the same record twice without harm. Within a session records
// are settled in the order of their sequence. A session's id and a journal index never come back.
//
// Nothing is assumed of the file. Its pages have no checksum and bbolt believes what they say, so that one flipped bit can
// make it read memory that is free, upon which the Go runtime ends the process at each start. A start therefore reads the
// pages by itself, checks every bound, the order of the keys, that no free page is in use, a checksum over each key and
// value, and how many values there must be; only what passes is opened for writing. There every use of bbolt is guarded
// against its panics and against faults of mapped memory; after one it is not asked again.
//
// Letters are bounded by Limits: at the bound Bury refuses, and the write stays pending.
//
// # How the totals survive
//
// The writes of living generations are counted from their records. Those of released ones stand in the journal: a released
// record tells what became of the writes of its generation, and each head the sum of all released before it. A start takes
// the newest head and the released records behind it; recovery finds them. The late fate of a dead letter (a replay, or an
// operator's decision) is a record of its own. Where the letter's generation is still there it moves that account, else the
// sum; which of the two must be the same for heads and for a start, so a generation stays as long as a late fate of one of
// its letters may stand behind the newest head, and Resolve and the keeper keep out of each other's way.
//
// # What is carried forward
//
// Before a generation is released, what only it can tell is told again in the newest one:
//
//   - a session whose newest record is in it: id, space, lane, last sequence, closed mark. A write tells the space that it
//     went to, which need not be the session's own; a session one of whose writes went elsewhere is therefore also carried
//     when the last generation goes that has a record of its own space;
//   - a dead letter, whole, with the store's words;
//   - that a dead letter is superseded by a write in it, with the letter: see Outdate;
//   - a tomb: an expiry, or a late fate. It must outlive what it buried, lest that rises at a start without the file, and so
//     it is carried as long as another generation between the first and the last that told of the session or letter is
//     there, and no longer. What was being carried while it was buried stays buried.
//
// A generation is released only where carrying costs no more than half of what it gives back. That bounds how often
// anything is copied: a generation that holds nothing but what was carried into it is never copied on, and what stays for
// want of it is at most twice what is alive. A stuck write pins its own generation and no other. Sessions and letters that
// damage took from the journal, and the file or a header still proves, are told to the journal at the first look, whatever
// it costs.
//
// # Goroutines and locks
//
// Run is the keeper, the caller's goroutine: it flushes four times a second while something changes, and releases
// generations. It releases only what was finished before the flush that it has just made, and nothing while the file cannot
// be written. Committed, Settle and Bury only change memory and never wait for the disk. Locks are taken in the order
// moving, writing, mu.
//
// # What a crash does
//
//   - before a flush: what was settled since the last one is delivered again;
//   - within a flush: bbolt's transaction is there or not;
//   - between carried records, or behind them: the same is told twice, the newest counts;
//   - between the released record and the deletion: the next start deletes;
//   - while the file is made, or made smaller: it is made whole under a temporary name, closed, renamed, and its directory
//     synced; a temporary file that is found counts for nothing;
//   - while a damaged file is set aside: there is none, and the next start builds it.
//
// A full disk is no crash: marks and up to 16 MiB of letters stay in memory, and are written when there is room.
//
// # The file
//
// bbolt with four buckets. Every value ends in 4 bytes more: the CRC32C of its key and itself. Numbers are little endian, but
// for those marked BE.
//
//	meta         format    8 BE  version of the file
//	             journal   16    identity of the data directory
//	             durable   8 BE  highest index that was durable
//	             newest    8 BE  highest number of a generation, ever
//	             totals    80    accepted, delivered, dead, dropped, damaged of released generations; the same of all
//	             counts    24    values in the three buckets below
//	generations  8 BE            by number: base index 8, odd fates 4, these (position 4, fate 1), bitmap of the settled in
//	                             words of 8, bit i of which stands for index base+i; what is settled and not odd is delivered
//	sessions     16              by id: last sequence 8, closed at 8 (Unix ns, 0 while open), lane 1, space
//	letters      8 BE            by index of the write: form 1, lane 1, session 16, sequence 8, length of space 1, length of
//	                             id 2, space, id, and the payload of a carried letter as the journal has it
package ledger
