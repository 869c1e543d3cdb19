// Package proxy is the gRPC edge: it serves engram.v1.EngramService, puts what clients bring into the journal, and answers
// when it is durable.
//
// # What it promises
//
// An answer that says accepted, opened or closed is sent after the fsync of the record it stands for, never before, however
// many share one fsync. Every observation gets exactly one answer, in the order of arrival; a refusal waits for the acks
// before it, and uses no sequence number up. An episode's bytes travel verbatim into the journal; where an id had to be
// made, it is appended to them. A Remember or an Experience that is sent again while the first is pending makes no second
// record (see retries). What was acked can be recalled at once, whether or not the store has it yet.
//
// A stream that carries a status is over, so only what ends it is a status: no session, a session taken over, a journal
// that failed, a stop. All else is refused in-band and the stream goes on.
//
// # How a stream works
//
//	RecvMsg ─▶ receiver ── Append ──▶ journal ─── fsync ───┐
//	              │                                        │ Wake
//	              │ owed answers, in order                 ▼
//	              └──────────────▶ outbox ───────────▶ sender ─▶ SendMsg
//
//	supervisor (the handler): take-over, stop, vanished client, pressure, drain
//
// Three goroutines serve one observation stream. The receiver walks each message once, applies the session's rules, and
// appends. The sender, which is there while anything is owed, waits for the journal and writes all answers whose turn has
// come, many at a wake-up. The supervisor is the handler itself: only a handler that returns can end a stream, so it never
// blocks in RecvMsg or SendMsg. When a stream ends, the supervisor lets no more be appended, waits until all that was is
// settled, and only then releases the session.
//
// A stream with INDEXED acks has news beside its answers: what the forwarder reports of its session waits in half of the
// outbox's room, and the sender takes it from there when no settled answer is left. A MemoryFlow has no INDEXED acks but a
// subscription, whose events the supervisor puts into the outbox as its client's manners allow; a fourth goroutine answers its
// recalls. Nobody who reports waits for a client: see News.
//
// A client that never reads its answers slows itself alone: the outbox is bounded in bytes, and the receiver stops reading
// when it is full.
//
// # What is passed through
//
// Every method of engram.v1.EngramService that is not served here goes to the Upstream, where the store is one: messages as
// the bytes they are, one at a time each way, with the client's metadata and deadline out, and headers, trailers and status
// back. Credentials are the exception (keptHere): the client's are for the sidecar, the upstream gets its store's. Whether
// messages are compressed is agreed between neighbours. Nothing that is passed through is journaled, and what is pending
// here is not known there: a Forget does not reach an observation that is still on its way.
//
// # Who owns the goroutines
//
// Server.Run owns all of them: gRPC's own, the receivers and senders, the two that take a call through, the pressure gauge and the expiry of sessions. It
// returns when every one has ended. A panic in any handler, receiver or sender ends that one call with INTERNAL and is
// counted; it never ends the process.
//
// # What it assumes
//
// The journal calls whoever has to know of a commit (the queue, the ledger, the set of pending records) before it wakes
// producers, so that an ack is never ahead of them. Sequence rules and fencing are those of proxy/session, the walk over the
// bytes is proxy/envelope's. Wire types stop here: nothing behind this package knows them, but for the bytes it keeps.
//
// A crash loses what no client was told: sessions resume at the last durable sequence, which may be above the last one
// acked. Nothing here is written to disk but through the journal.
package proxy
