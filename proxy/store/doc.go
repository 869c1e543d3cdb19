// Package store is the vocabulary that the stores share: what is asked of them (Query), what they answer (Answer, Hit),
// what they can do (Capabilities), and how a refusal says what should happen next (Class). Each store is a folder below
// this one; the interfaces they satisfy are declared by their users: proxy/forward (Put) and proxy (Recall).
//
// # What every store promises
//
//	Put(ctx context.Context, batch []wal.Record) []error
//	Recall(ctx context.Context, q store.Query) (store.Answer, error)
//	Capabilities() store.Capabilities
//	Close() error
//
// Put takes writes in the order of the batch and answers with one error for each of them, at the same place. nil means:
// stored so that a crash of the store's machine right afterwards does not lose it. Anything else means: not known to be
// stored, it may be sent again. So a store takes the same memory (space and id) twice without harm, and one that keeps
// versions ignores a Record whose Index is below the one it has.
//
// Within a session the order holds even inside one batch: after an item that was not stored, and was not refused for good,
// a later item of the same session is not stored either; its answer is ErrBehind. Records without a session stand alone.
//
// The batch and its slices of records are valid during the call; Payload and ID may be kept and are never changed. Put
// and Recall are called from several goroutines at once; when ctx ends they return soon, with what is known until then.
//
// # What a refusal means
//
//	Permanent    this item will never be taken: it becomes a dead letter at once
//	Denied       the store refuses us, not the item: wait, try again, bury nothing
//	Unavailable  the store cannot be reached or is not able: wait, try again, bury nothing
//	any other    transient, for this item: it is tried again, others go on
//
// The package has no goroutines and no state; a crash means nothing to it.
package store
