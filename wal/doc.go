// Package wal is the journal: the only truth of what the sidecar has accepted. Everything else, the ledger included, is an
// index of it and can be rebuilt from it.
//
// # What it promises
//
// When an index is durable (Producer.Durable, Producer.Wait, Journal.Write) the record's bytes, the name of its file and
// the names of the directories above it up to Config.Dir have been synced. It survives the end of the process, however it
// comes, a crash of the kernel and a loss of power. There is no faster, weaker mode.
//
//   - The records of one Producer become durable in the order in which it appended them, and indexes ascend without a hole.
//   - Whatever Read, ScanGeneration or OnCommit hand out was written as it is, bit by bit; what was not is named as damage.
//   - A record refused with ErrFull is not on the disk when its producer learns of the refusal.
//   - After ErrFailed nothing is acknowledged any more, and no further call is made on the file that failed.
//
// Not promised: the loss of the disk; rot of the very last batch, which cannot be told from a write cut short by a crash
// (the ledger can tell where it has seen the acknowledgement); and a record whose Append returned nil but whose commit was
// not awaited, which may be there after a crash or may not.
//
// # What it assumes
//
//   - fsync is honest: when it returns nil, a disk that loses power keeps what was written to the file before.
//   - A failed fsync proves nothing, then or later: Linux marks the pages clean and the next fsync succeeds. So it is
//     never asked twice, and the next start writes the last batch over itself before anything rests on it (see Open).
//   - Overwriting bytes with the same bytes does not harm their neighbours when the power fails meanwhile.
//   - Sectors need not be atomic, and may reach the disk in any order between two fsyncs.
//   - Names need an fsync of their directory; POSIX promises them by no other call.
//   - One process writes a data directory: AcquireLock.
//   - A checksum of 32 bits finds chance damage. It is no signature: who can write the files can forge records.
//
// # What is on disk
//
//	DATA DIRECTORY
//	├── FORMAT                        engram-sidecar format 1 journal UUID
//	├── LOCK                          flock; names the process that holds it
//	└── journal/                      Config.Dir
//	    ├── g00000000000000000007/    generation 7: one tidwall/wal log
//	    │   └── 00000000000000000001  its one segment
//	    ├── g00000000000000000009/    8 was released
//	    └── g00000000000000000010/    made ready, empty
//
// A segment is a row of tidwall/wal entries, each a length and a frame. Numbers are little endian, of the size drawn:
//
//	entry  ┌────────────────┬───────────────────────────────────────────────────────────┐
//	       │ length, varint │ frame                                                     │
//	       └────────────────┴───────────────────────────────────────────────────────────┘
//	frame   0 ┌────────────────────────┬───────────┬──────┬──────┬──────┐
//	          │ magic 45 67 6d 4a      │ version 1 │ kind │ form │ lane │
//	        8 ├────────────────────────┴───────────┴──────┴──────┴──────┤
//	          │ index: place in the journal, 1 and up, never used twice │
//	       16 ├─────────────────────────────────────────────────────────┤
//	          │ batch: the group commit                                 │
//	       24 ├─────────────────────────────────────────────────────────┤
//	          │ session, 16 bytes of a UUID                             │
//	       40 ├─────────────────────────────────────────────────────────┤
//	          │ sequence                                                │
//	       48 ├─────────────────────────────────────────────────────────┤
//	          │ time, Unix nanoseconds                                  │
//	       56 ├─────────┬──────────┬──────────┬─────────────────────────┤
//	          │ space n │ 0        │ id m, 2  │ payload p, 4            │  lengths in bytes
//	       64 ├─────────┴──────────┴──────────┼─────────────────────────┘
//	          │ place in the batch, 4         │
//	       68 ├───────────────────────────────┼────────────────────────────────┐
//	          │ space, n bytes                │ id, m bytes                    │
//	   68+n+m ├───────────────────────────────┼────────────────────────────────┤
//	          │ CRC-32C of the payload, 4     │ CRC-32C of all before it, 4    │
//	   76+n+m ├───────────────────────────────┴────────────────────────────────┤
//	          │ payload, p bytes                                               │
//	          └────────────────────────────────────────────────────────────────┘
//
// The header's checksum begins not with zero but with the generation's seal, CRC-32C(journal UUID, generation): a frame of
// another journal or another generation, or one that a client hides in its payload, never counts. The payload has a
// checksum of its own, so that rot in it still names whose it was. The index and the place in the batch give the first
// index of the batch: from any header that survives it is known which records it followed.
//
// The payload of a write is the client's message as it came. Those of the other kinds, every number 8 bytes but where it
// says otherwise; a tally is accepted, delivered, dead, dropped, damaged:
//
//	head             version 2, journal 16, generation, accepted, released tally, n 4, n × (first, last)
//	session opened   none: session, space and lane stand in the frame
//	session closed   closed at; session and its last sequence stand in the frame
//	session expired  none
//	carried session  closed at, 0 while open; session, space, lane and last sequence stand in the frame
//	carried letter   index, time, died at, attempts 4 (highest bit: superseded), n 4, reason n, the write's payload to the end
//	released         generation, tally
//	settled          index, fate 1, again 1
//
// # What if it crashes here
//
// Append: the record is in memory. Nobody was told anything; nothing is left of it.
//
// Batch: the committer writes the frames of all records that arrived meanwhile with one call, syncs, publishes, and only
// then wakes the producers. Cut before the sync, any part of the batch may be on disk, in any order. The scan keeps the
// longest run of whole frames; the rest is torn: batch N+1 is written only after the sync of batch N, so damage with a
// header of a later batch behind it is rot in what was acknowledged, and is reported; damage within the last batch is what
// a crash leaves, and is cut (Scanned.Torn, TornAt, CutTail). Frames of it that are whole are kept, although nobody was
// told: a client that resumes learns of them.
//
// Rotation: a generation that has reached its size ends with its batch, and the next batch begins a new one with a head,
// which makes it readable without those before it: identity, counters, and which generations must be there. The new one's
// directory and segment were made and their names synced by the keeper before, several at a time while they are used up
// fast. Cut at any point of that, empty or unused generations are left, which the next start deletes; their numbers are not
// used again while they may hold anything.
//
// Open: it never appends to a file of an earlier run. What that run left behind its last sync may be in the page cache
// alone, and after a failed fsync no later one tells; so the newest generation's last batch is written over itself and
// synced first.
//
// Release: the released frame, with the tally of the generation's writes, is durable before the first byte is deleted. Cut
// in between, the next start finds frame and generation and finishes the deletion; cut before, the generation lives. A head
// counts a released generation in the same batch order in which its frame stands, so none is counted twice or not at all.
// While a process copies the journal (HoldReleases) none is released.
//
// No room: a write that the disk refuses for want of room (ENOSPC, EDQUOT, EFBIG) was not synced. The segment is cut back
// to its last synced byte and synced, its handle is dropped, and only then is the batch refused, with all behind it. The
// indexes go back to where they were; the next generation takes them, so there is no hole. Cut before the cut, frames of
// the refused batch may be whole, and are kept as above: nobody had been told. Part of each generation is allocated
// beforehand, so that a released frame finds room on a disk that is full to the last byte.
//
// Storage failure: any other error of a write, and any of an fsync. Everyone who waits is told ErrFailed, Failed is closed,
// and the process must end; the next start recovers as from a crash.
//
// # Goroutines and locks
//
// Open starts two, and each finished generation has one for a moment, to close its handle; Close waits for all. The
// committer is the only writer: it owns the batch that is being written, the current generation's handles, and calls
// OnCommit and OnSync. The keeper makes the next generations ready and measures the disk every 200 ms; it ends after the
// committer, which may need its generation to write what came before a Close.
//
// Journal.mu guards the batch that is being filled, the counters and the state; Journal.gens guards the table. Where both
// are held, mu was taken first. Neither is held during a call to the disk, to OnCommit or to visit. stock.mu guards what the
// keeper has made ready, and is taken without another.
//
// # tidwall/wal
//
// It is used unmodified and with care; its faults are known:
//
//   - no checksum, and a torn tail or a run of zeros is misread: frames, and a scanner of our own; it never opens a file
//     that an earlier run wrote;
//   - it does not sync directories: the keeper does, before a batch rests on them;
//   - after a failed write or fsync its memory and the disk differ, and neither is latched: no second call on that handle,
//     and the error decides once for all (it syncs nothing by itself: NoSync, so that the two kinds are told apart);
//   - a failed cut, truncation or close leaves it unusable, rewrites whole segments or is undone by a crash: a generation
//     is one segment below SegmentSize that is never cut nor truncated, and is deleted whole;
//   - its reads are not safe side by side: the committer alone holds the Log, and Read uses descriptors of its own;
//   - it checks only the last segment and no continuity: every frame names its index, batch and generation;
//   - two processes may open the same log: AcquireLock;
//   - an empty log: AllowEmpty, and a head is part of every generation's first batch;
//   - it keeps the segment in memory, and grows it by copying: the committer takes that memory away after each batch (see
//     tail), and where it could not generations would still be small;
//   - a batch that crosses segments is synced in parts: it never does;
//   - modes 0750 and 0640: 0700 and 0600;
//   - indexes must follow each other: a generation counts from 1, and what it refuses ends the journal.
//
// # Builds that are broken on purpose
//
// The build tags fault_no_sync, fault_no_dirsync, fault_ack_before_sync and fault_retry_sync each break one of the promises
// above. They exist so that the tests can be tested: a suite that does not find them out is worth nothing.
package wal
