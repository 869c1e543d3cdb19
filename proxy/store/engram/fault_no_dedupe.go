//go:build fault_no_dedupe

package engram

import (
	"github.com/google/uuid"

	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// deliver is broken on purpose in this build: each delivery gets an id of its own, so that a second one is no longer
// known for what it is. The crash test must find it out.
func deliver(r *wal.Record) []byte {
	if r.Form != wal.FormEpisode {
		return r.Payload
	}
	return envelope.AppendEpisodeID(nil, r.Payload, uuid.NewString())
}
