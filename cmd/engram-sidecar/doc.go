// Command engram-sidecar stands beside an application and takes its observations for the Engram memory database: it journals
// each one, acknowledges it when it is on disk, and delivers it to the store when the store can take it.
//
//	engram-sidecar serve                  run the sidecar
//	engram-sidecar observe < notes.txt    send lines as observations
//	engram-sidecar recall "what I seek"   find them again
//	engram-sidecar status                 how the sidecar is doing
//	engram-sidecar journal verify         look into a data directory, check, repair, export
//	engram-sidecar backup DIR             copy it while the sidecar runs; restore DIR copies it back
//	engram-sidecar store compact          give back what superseded versions take in the embedded store
//	engram-sidecar bench                  measure how fast this machine acknowledges durably
//	engram-sidecar version                which program this is
//
// # What it promises
//
// Settings have one name everywhere and come from flag, environment, file and default, in this order of precedence. What
// goes wrong is said in one line on stderr: what happened, and what to do. The exit code tells what kind of thing it was:
//
//	 0  all is well
//	 1  it failed; a port in use is such a failure
//	 2  it was called wrongly: an unknown command, flag or argument
//	74  the journal or its disk failed; start again, and it recovers
//	75  another process has the data directory
//	78  the configuration can't work, or a newer version wrote the data directory
//
// # What it assumes
//
// A Linux-like system with flock. The process is the only one that changes its data directory.
//
// # Goroutines and crashes
//
// serve runs every part of the sidecar as an actor of one group, which ends them in the order that assemble.go says, and
// waits for them. A crash at any point loses nothing that was acknowledged: the next start recovers it from the journal.
package main
