// Package postgres keeps memories in a PostgreSQL database with pgvector: the store for a team that has one, shared by any
// number of sidecars.
//
// # What it promises
//
// A memory that Put has confirmed was committed with synchronous_commit on, whatever the server's, the database's or the
// role's setting: the transaction itself says so. It survives a crash of the server as far as PostgreSQL's own WAL does. A
// memory is one for its space and id, which are the primary key; to store it again changes nothing.
//
// A batch is one transaction. Where the server refuses a row, what came before it is committed, the row is tried alone, and
// its answer is its own for certain; what comes behind goes on. So order holds within a session, and after a row that may
// still be stored later those of its session wait (store.ErrBehind).
//
// What an error means, its SQLSTATE says:
//
//	22, 23, 54            permanent: the row's data, a constraint, a limit. The text is the server's own
//	23514 without a name  transient: no partition takes the row
//	40                    tried again at once, a few times; then unavailable
//	08 25 53 55 57 58 F0  unavailable: connection, read-only standby, disk full, too many connections, locks, shutdown, I/O
//	0A 0L 0P 26 28 3D 3F 42  denied: authentication, rights, no such database, schema, table, column or function
//	any other             transient, for this row (a trigger's RAISE, an internal error)
//	none                  unavailable: the connection failed. If that was at the commit, nobody knows its outcome: the same
//	                      rows are sent again, which stores nothing twice
//
// # Versions, also of several journals
//
// A version is the place of a record in its sidecar's journal, and such places compare within one journal only. Two sidecars
// may store the same id in the same space, so each row bears the journal's identity, the version, and when the sidecar
// accepted it. A record replaces a row if
//
//   - it is of the same journal and its version is higher, or
//   - it was accepted later, to the microsecond (at the same one the journal's identity decides). Of two journals nothing
//     else is known; within one this is so only after a restore of a backup, where places of the lost part are used again.
//
// A row's time of acceptance never goes back: of its own journal's versions it keeps the latest. So redelivery is harmless
// across journals too: what a row has seen never comes back in the place of something newer, whoever wrote that. It takes the clocks of the sidecars' machines as they are: of two that differ by a second, the one ahead wins a
// second. And where a clock was set back, and two sessions of one journal wrote the same id, and the later was delivered
// first, the earlier one may stay.
//
// Recall and Versions tell a version only where it is of this sidecar's own journal: with no other can what is pending here
// compare.
//
// # What is in the database
//
// A schema engram_sidecar with the tables memories and schema_versions, made in one transaction under an advisory lock, so that
// any number of sidecars may begin at once. A version that this build does not know is refused (ErrNewerSchema), and nothing
// touched. What an administrator made beforehand is taken as it is: the schema, the extension, the table of memories. Space is
// the first column of every key, so the table may be partitioned, or distributed, by space.
//
// The embedding is a vector(768) in the row itself, the rest of the client's message stands beside it; put together they are
// the bytes that were journaled. Time, place, people, tags and text are there once more in columns, to search and to read; a
// character zero, which PostgreSQL does not have, is U+FFFD there. An id with one is refused by the server.
//
// committed_at is the server's clock within the inserting transaction, which ends some milliseconds later: a recall with
// Query.Before at that very moment may not see yet what the same recall sees a second later.
//
// # Recall
//
// In SQL, one statement, one snapshot. Without an index every memory of the space is compared: exact. With Config.Index hnsw an
// index is built beside all other work, again where a crash left it half built, and recalls use it as soon as it is there; it
// is approximate. It knows nothing of spaces and filters: pgvector 0.8 searches on until it has enough that fit, and where
// that finds less than was asked for the answer is made by comparing all. Vectors of zeros, which have no cosine, are not in it.
//
// # Poolers
//
// A transaction is all that is ever taken for granted: statements have no names, settings and locks are local to their
// transaction, so that PgBouncer and its kin may be in between, in transaction mode. A transaction is sent whole and answered
// whole, in one round trip. Only CREATE INDEX CONCURRENTLY, which the server does not allow within a transaction, runs
// alone; a pooler's query_timeout, or a statement_timeout of the role, has to let it.
//
// # Secrets
//
// The URL may hold a password. Errors, logs and status show host, port and database (Address), and nothing else of it.
//
// # Goroutines
//
// The pool has its own; with an index there is one that builds it. Close ends and awaits them all, and every call under way.
// A crash of the sidecar breaks its connections: the server rolls back what was not committed.
package postgres
