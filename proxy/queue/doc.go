// Package queue holds what waits for delivery: three lanes of references to journal records, and a cache of the records
// themselves with a byte budget. A backlog costs disk, not memory.
//
// # Promises
//
// A Queue is first in, first out within a lane. Lanes are the ints 0 (high), 1 (normal) and 2 (low); high goes before
// normal before low, and while a lower lane holds something older than the ageing limit it gets one slot in
// Config.AgeingShare, counted over all Takes. What is taken still counts in Depths until it is given back with Return or
// reported with Done, so that depth, pressure and lane capacity speak of everything accepted and not yet settled.
//
// References are kept as runs of consecutive indexes that came within the same second: a run costs 8 bytes. Ten million
// waiting references in long runs cost a few KB, in the worst case (each lane gets every third index) 81 MB. Memory is
// given back as the lane is emptied; Push and Take do not allocate except for a 4 KB chunk for every 507 runs.
//
// A Cache takes no entry beyond its budget: what it does not hold is read back from the journal.
//
// # Assumptions
//
// Nothing is refused here: Full and Pressure are for whoever accepts. Push and PushRun are called with what is already
// durable, Return and Done with what Take gave. The clock is the caller's.
//
// # Goroutines and crashes
//
// The package starts no goroutine. All methods may be called from any goroutine. Everything is in memory: after a crash
// the queue is filled again from the journal and the ledger.
package queue
