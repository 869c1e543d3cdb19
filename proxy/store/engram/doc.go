// Package engram forwards to an Engram server, or to several that serve the same memories, and recalls from them.
//
// # What it promises
//
// A write counts as stored when the server has answered it with a RememberResponse, and not before. Writes travel on one
// long-lived StreamingRemember stream, their bytes as the client sent them: an episode is wrapped into a RememberRequest
// by a few bytes in front of it, a RememberRequest goes as it came (with the resolved memory space appended where it named
// none), and an ExperienceRequest goes as a RememberRequest around its episode, because a server's Experience answers
// without storing anything. Its context_links and immediate_consolidation, which the server does not read, stay in the
// journal.
//
// Answers come in the order of the requests, and a refusal ends the stream with a status that names no request. So the
// culprit is the first request without an answer. It is sent once more by a unary Remember, whose answer is its own for
// certain, and the rest goes on over a new stream; while one refusal follows another, each request goes alone. After an
// item that may still be stored later, the later ones of its session are held back (store.ErrBehind): at the server,
// too, a session's observations arrive in the order of their sequence.
//
//	INVALID_ARGUMENT, OUT_OF_RANGE                               permanent: this one will never be taken
//	UNAUTHENTICATED, PERMISSION_DENIED, UNIMPLEMENTED, NOT_FOUND denied: an operator has to act, nothing is buried
//	UNAVAILABLE, DEADLINE_EXCEEDED, no answer for Config.Timeout unavailable: what was not answered is sent again later
//	anything else                                                transient: this one is tried again, others go on
//
// # What it assumes
//
// The server takes the same id twice without harm: what it stored without our seeing the answer is sent again. Its
// spaces have names of at least 4 characters, one more than ours, and it refuses a shorter one for good. What it loses
// after its answer is beyond what the sidecar can promise.
//
// Its Recall answers without embeddings (a vector of zeros in their place), so its hits have no cosine; they keep the
// server's order, behind those that have one. It understands embedding, semantic and context cues.
//
// Calls go round all servers that answer; a stream stays where it was opened, and a new one is opened elsewhere when it
// breaks. A server that is away is tried again at least every 5 s. With each call goes the token of Config.TokenFile as it is
// at that moment. No proxy of the environment is used unless Config.Proxy says so.
//
// What the sidecar does not serve itself is passed through with Pass, over a connection of its own, so that a call which
// nobody reads holds up no delivery.
//
// # Goroutines
//
// An open stream has two, a sender and a receiver, owned by the stream: whoever closes it waits for both, and Close closes
// the last one. Put and Recall may be called from anywhere at any time; one Put talks to the server at a time, in
// order of arrival, as the answers of one stream belong to one batch.
//
// A crash of the sidecar breaks the stream and nothing else. What was sent and not marked delivered is sent again.
package engram
