package engram

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

// Store speaks to an Engram server, or to several that serve the same memories. It implements what proxy/store describes.
type Store struct {
	cfg  Config
	log  hclog.Logger
	conn *grpc.ClientConn // for Put, Recall and Check

	passing *grpc.ClientConn // for Pass; there is no connection before the first call

	closing sync.Once
	closed  chan struct{}

	turn   chan struct{} // holds one token: whoever has it may use what follows
	stream *stream       // nil before the first Put and after a refusal
}

// Open returns a store for the servers at cfg.Address. It does not wait for them: they may be down for now. A nil
// log is silent. Extra dial options are for tests that have a connection of their own.
func Open(cfg Config, log hclog.Logger, extra ...grpc.DialOption) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if log == nil {
		log = hclog.NewNullLogger()
	}
	conn, err := cfg.dial(extra)
	if err != nil {
		return nil, err
	}
	passing, err := cfg.dial(extra)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	log = log.Named("engram")
	if !cfg.TLS && !cfg.local() {
		log.Warn("observations go over the network unencrypted: use "+SchemeTLS+" where the server has TLS", "store", cfg.scheme()+cfg.Address)
	}
	s := &Store{
		cfg: cfg.withDefaults(), log: log, conn: conn, passing: passing,
		closed: make(chan struct{}), turn: make(chan struct{}, 1),
	}
	s.turn <- struct{}{}
	return s, nil
}

// Capabilities says what an Engram server can do.
func (s *Store) Capabilities() store.Capabilities {
	return store.Capabilities{ // one Put ends before the next begins: of large ones the server waits less often
		Name:       "engram",
		Cues:       []store.Cue{store.CueEmbedding, store.CueSemantic, store.CueContext},
		BatchItems: 1024,
		BatchBytes: 4 << 20,
		Parallel:   1,
	}
}

// Check says whether the server answers at all, for readiness texts and diagnosis. The error is classified like those of
// Put. A server that answers that it cannot introspect is up.
func (s *Store) Check(ctx context.Context) error {
	err := s.call(ctx, engramv1.EngramService_Introspect_FullMethodName, raw(nil), nil)
	if status.Code(err) == codes.Unimplemented {
		return nil
	}
	return s.classify(err)
}

// Close ends the stream, the connections and every call under way, and waits for a Put that had the turn. Nothing that was
// confirmed is lost by it. A second Close does nothing.
func (s *Store) Close() (err error) {
	s.closing.Do(func() {
		close(s.closed)
		if err = errors.Join(s.conn.Close(), s.passing.Close()); err != nil {
			err = fmt.Errorf("engram at %s: close: %w", s.cfg.Address, err)
		}
		<-s.turn // it never comes back: there are no more turns
		if s.stream != nil {
			s.stream.close(errClosed)
		}
	})
	return err
}

// call makes a unary call that ends with the caller's context, with the store, and after cfg.Timeout. A nil answer reads
// one of which only the arrival matters.
func (s *Store) call(ctx context.Context, method string, request any, answer *raw) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.Timeout, errSilent)
	defer cancel()
	return because(ctx, s.conn.Invoke(ctx, method, request, answer, grpc.ForceCodecV2(codec{})))
}
