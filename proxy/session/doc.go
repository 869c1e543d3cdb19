// Package session keeps the sequence rules of observation streams: which sequence number comes next, who may write it, and
// how long a session without a stream can be resumed. It is a state machine without goroutines, files or network.
//
// # States
//
//	           Open
//	             │
//	             ▼    Pause            Close
//	          Active ───────▶ Paused ────────▶ Closed ──▶ forgotten, one timeout after the close
//	             ▲  ◀───────    │
//	             │    Resume    │
//	Attach ──────┴──────────────┴──▶ forgotten, one timeout after the last stream left
//
// A session counts two sequences. Accepted is the highest that was appended to the journal: the next observation must carry
// the one after it. Durable is the highest whose fsync has returned: a client that resumes goes on after it. Between them
// lies what is in flight; when the journal refuses that, RollBack takes its numbers back.
//
// # Fencing
//
// A stream works on a session through an Attachment. Attaching to a session that another stream holds takes it over: the
// earlier attachment is fenced at once (its Fenced channel closes, its Check refuses), and the later one becomes ready when
// all earlier ones were released. An owner MUST NOT release before all that it appended to the journal is settled, durable
// or refused: only then is Durable the truth, and the new owner cannot be told a sequence that a late fsync moves on. An
// owner MUST NOT call Check before its attachment is ready.
//
// # What it assumes
//
// The caller makes things durable, in this order: the record of a new session before its id is told to anyone, the record
// of a close before Close, and whatever Expire has forgotten afterwards, which may be lost: a session that comes back
// after a crash has its full timeout before it.
//
// A crash takes everything here with it. Restore builds it again from what recovery found, and gives each session the full
// timeout anew; all sessions are active then, a pause does not survive.
//
// All methods may be called concurrently. Time is counted on the monotonic clock, so setting the wall clock expires nothing.
package session
