package proxy

import (
	"fmt"
	"strings"

	"google.golang.org/grpc/metadata"
)

// acksKey is the metadata by which a stream asks for other acks than one for each observation that is durable.
const acksKey = "engram-acks"

// acks is what a stream is told beside that, or instead.
type acks struct {
	cumulative bool // one accepted ack stands for those before it
	indexed    bool // a second ack when the store has it, or has refused it for good
}

// readAcks reads the metadata, which may come more than once.
func readAcks(md metadata.MD) (a acks, err error) {
	for _, value := range md.Get(acksKey) {
		for word := range strings.SplitSeq(value, ",") {
			switch word = strings.TrimSpace(word); word {
			case "cumulative":
				a.cumulative = true
			case "indexed":
				a.indexed = true
			case "":
			default:
				return acks{}, fmt.Errorf("expected cumulative, indexed, or both with a comma between them, got %q", word)
			}
		}
	}
	return a, nil
}
