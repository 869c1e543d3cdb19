// Package config reads the sidecar's settings: from flags, the environment, a YAML file and the defaults, in this order of
// precedence.
//
// # What it promises
//
// A setting has one name everywhere: the flag --data-dir is the key data-dir of the file and the variable
// ENGRAM_SIDECAR_DATA_DIR. A name that is none is refused, with the nearest that is one. Every message names the setting
// and where its value came from, so that an operator knows which of the four places to change.
//
// # What it assumes
//
// The environment may hold what Kubernetes puts there for a Service that is called engram-sidecar
// (ENGRAM_SIDECAR_SERVICE_HOST, ENGRAM_SIDECAR_PORT_50051_TCP and their like): these are no settings and are passed over.
//
// The package starts no goroutine, keeps no state and writes nothing: a crash means nothing to it.
package config
