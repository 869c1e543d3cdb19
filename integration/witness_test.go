package integration

import (
	"fmt"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// witness knows what was sent, byte for byte, and compares with it whatever comes back: at the store, in an ack, in a recall.
// It asks for no order, so that writes of every kind can be mixed, broken off and sent again. Its methods may be called from
// any goroutine.
type witness struct {
	mu     sync.Mutex
	sent   map[string]harness.Digest      // by what
	named  map[string]harness.Observation // of these
	acked  map[string]string              // the memory id that its client was told
	stored map[string]string              // the memory id under which the store took it
	wrong  []string
}

func newWitness() *witness {
	return &witness{
		sent: map[string]harness.Digest{}, named: map[string]harness.Observation{}, acked: map[string]string{}, stored: map[string]string{},
	}
}

// sends makes an observation, which the caller is about to send.
func (w *witness) sends(of harness.Observation) *engramv1.Episode {
	e := harness.EpisodeOf(of)
	digest := harness.DigestOf(e)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent[e.GetWhat()], w.named[e.GetWhat()] = digest, of
	return e
}

// told is what an ack says of an observation.
func (w *witness) told(of harness.Observation, id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	what := of.String()
	_, sent := w.sent[what]
	before, again := w.acked[what]
	own := harness.EpisodeOf(of).GetId()
	if !sent || id == "" || own != "" && id != own || again && id != before {
		w.blameLocked("%s was acked as %q: sent %v, under the id %q, acked before as %q", what, id, sent, own, before)
	}
	w.acked[what] = id
}

// arrives is what the store is asked to take.
func (w *witness) arrives(e *engramv1.Episode) {
	_, digest, err := harness.ObservationIn(e)
	w.mu.Lock()
	defer w.mu.Unlock()
	what := e.GetWhat()
	before, again := w.stored[what]
	if err != nil || digest != w.sent[what] || e.GetId() == "" || again && before != e.GetId() {
		w.blameLocked("the store is asked to take %q as %q, before as %q, with a content that was not sent (%v)", what, e.GetId(), before, err)
	}
	w.stored[what] = e.GetId()
}

// recalled is the best answer to the embedding of an observation.
func (w *witness) recalled(e *engramv1.Episode, id string, memories []*engramv1.Memory) {
	if len(memories) > 0 && memories[0].GetId() == id && memories[0].GetContent() == e.GetWhat() {
		return
	}
	w.blame("the best answer to the embedding of %q, which is %q: %v", e.GetWhat(), id, memories)
}

// failed judges the error that a call has ended with: it may have been cut off, but not have been misunderstood.
func (w *witness) failed(who string, err error) {
	switch code := status.Code(err); {
	case code == codes.Internal, code == codes.InvalidArgument, code == codes.DataLoss, code == codes.Unknown && err.Error() != "EOF":
		w.blame("%s: %v", who, err)
	}
}

func (w *witness) blame(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blameLocked(format, args...)
}

func (w *witness) blameLocked(format string, args ...any) {
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
}

// counts are of observations sent, acked and stored.
func (w *witness) counts() (sent, acked, stored int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.sent), len(w.acked), len(w.stored)
}

// allStored blames what was acked and is not in the store, or is there under another id.
func (w *witness) allStored() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for what, id := range w.acked {
		if w.stored[what] != id {
			w.blameLocked("%s was acked as %q and stored as %q", what, id, w.stored[what])
		}
	}
}
