// Package access says who may talk to the sidecar, and what they may do: tokens with rights, certificates, and the users whose
// processes may use a Unix socket.
//
// # What it promises
//
// A token is compared in constant time, and kept as its SHA-256 alone. Whatever is not granted by name is refused: a token
// that is not in the file, a space that its line does not name, a token that a reload has taken away, also for calls under
// way. A file that holds secrets is read only when nobody but its owner may read or write it; it is looked at through the
// descriptor that it is read by. A reload that fails changes nothing: what held before goes on to hold.
//
// # What it assumes
//
// A token has at least 16 characters that nobody can guess; `openssl rand -hex 32` makes one. The kernel tells the truth about
// who is at the other end of a socket (SO_PEERCRED).
//
// # Goroutines and crashes
//
// It starts no goroutine and keeps nothing on disk. Its methods may be called concurrently.
package access
