package engram

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

// maxAnswer is the longest answer taken, in bytes: a recall of some thousand memories with long texts.
const maxAnswer = 64 << 20

// Store speaks to one Engram server. It implements what proxy/store describes.
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

// Open returns a store for the server at cfg.Address. It does not wait for the server: that may be down for now. A nil
// log is silent. Extra dial options are for tests that have a connection of their own.
func Open(cfg Config, log hclog.Logger, extra ...grpc.DialOption) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if log == nil {
		log = hclog.NewNullLogger()
	}
	options := append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(),              // the address is the operator's; the environment's proxies are not meant for it
		grpc.WithDisableServiceConfig(), // and nobody's DNS shall say how to talk to it
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		// A stream over a dead connection must not wait for TCP to give up. Servers that want fewer pings say so, and grpc obeys.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
	}, extra...)
	conn, err := grpc.NewClient("dns:///"+cfg.Address, options...)
	if err != nil {
		return nil, fmt.Errorf("store %s%s: %w", Scheme, cfg.Address, err)
	}
	passing, err := grpc.NewClient("dns:///"+cfg.Address, options...)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store %s%s: %w", Scheme, cfg.Address, err), conn.Close())
	}
	s := &Store{
		cfg: cfg.withDefaults(), log: log.Named("engram"), conn: conn, passing: passing,
		closed: make(chan struct{}), turn: make(chan struct{}, 1),
	}
	s.turn <- struct{}{}
	return s, nil
}

// Capabilities says what an Engram server can do.
func (s *Store) Capabilities() store.Capabilities {
	return store.Capabilities{
		Name:       "engram",
		Cues:       []store.Cue{store.CueEmbedding, store.CueSemantic, store.CueContext},
		BatchItems: 256,
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
