// Package forward brings what is accepted to the store. It takes references from the queue, gets their records from the
// cache or else from the journal, hands them to the store in batches, and reports each: delivered, dead, or damaged.
// What is none of these is tried again, for as long as it takes.
//
// # Promises
//
// At least once: a record is reported delivered when the store said so, and buried when the store refused it for good with
// words of its own, or failed with it Config.Tries times while others succeeded. An outage, a refusal of the caller (an
// expired token) and a store that takes nothing at all bury nothing.
//
// Within a session the order of delivery, and of what is reported, is the sequence's. While one record of a session waits
// to be tried again its later ones wait behind it, as references; other sessions go on. Where nothing else is there to tell
// a record that always fails from an outage, one that waits behind it is asked for: see probe.go. So no record holds its
// session for ever when the store is otherwise well; one with nothing behind it holds nothing, and waits. A probe may reach
// the store before the record that it is about, and comes again in its turn: what the store has at the end is in order.
//
// What the sink cannot bury for now, such as a letter too many, holds everything up: only that is tried again, after each
// back-off, so that there are never many of them in memory.
//
// What is in flight is what the store takes in Config.Flight, 50 ms, so that a record of a high lane never stands behind a
// deep window; where the store's own latency leaves no room for that, the window is as deep as half the store's speed
// asks for. See pace.
//
// A store that fails as a whole opens the breaker: nothing is sent for an exponential back-off with full jitter, then one
// record as a probe; a success closes it. See breaker.
//
// # Assumptions
//
// The queue is filled with what is durable and not settled. Store, Source and Sink keep what their comments say. The
// cache, where there is one, holds what the journal holds.
//
// # Goroutines and crashes
//
// Run is the dispatcher and owns all that is in flight: it starts one goroutine for the grace period and, with
// Config.Parallel above 1, one for each Put, and waits for all of them. Stats and RetryAfter may be called from anywhere.
//
// When the context of Run ends, no more is taken; the Put in flight is awaited, for Config.Grace, and what it answered
// is reported before Run returns. Everything here is in memory. After a crash, what was delivered and not yet written to
// the ledger is delivered once more, which every store takes without harm; tries are counted anew.
package forward
