package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

// Store keeps memories in a PostgreSQL database. It implements what proxy/store describes.
type Store struct {
	cfg     Config
	log     hclog.Logger
	address string
	pool    *pgxpool.Pool

	life    context.Context // ends with errClosed
	end     context.CancelCauseFunc
	closing sync.Once
	calls   sync.WaitGroup // Put, Recall and Check under way, and the keeper of the index
	mu      sync.Mutex     // guards closed against calls.Add
	closed  bool

	turn  chan struct{} // holds one token: whoever has it may prepare the schema
	known atomic.Pointer[layout]
}

// Open returns a store for the database of cfg.URL. It makes the schema there, or brings it up to date, where the server
// answers within cfg.Patience; else it goes on without, and the first Put tries again. The errors are those of a
// configuration that cannot work: they wrap ErrNewerSchema or ErrEncoding, or are Validate's.
func Open(cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	poolConfig, err := cfg.pool()
	if err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, log: cfg.Logger.Named("postgres"), address: Address(cfg.URL), turn: make(chan struct{}, 1)}
	s.life, s.end = context.WithCancelCause(context.Background())
	if s.pool, err = pgxpool.NewWithConfig(s.life, poolConfig); err != nil {
		return nil, fmt.Errorf("store %s: %w", s.address, err)
	}
	s.turn <- struct{}{}
	if err := s.begin(); err != nil {
		_ = s.Close() // nothing is under way
		return nil, err
	}
	return s, nil
}

// begin looks at the server as far as it answers, and starts the keeper of the index.
func (s *Store) begin() error {
	ctx, cancel := context.WithTimeout(s.life, s.cfg.Patience)
	defer cancel()
	_, err := s.ready(ctx)
	switch {
	case errors.Is(err, ErrNewerSchema), errors.Is(err, ErrEncoding):
		return fmt.Errorf("store %s: %w", s.address, err)
	case err != nil:
		s.log.Warn("PostgreSQL is not ready: observations are accepted, and wait", "address", s.address, "reason", s.classify(ctx, err))
	}
	if s.cfg.Index == IndexHNSW {
		s.calls.Go(s.keepIndex) // ends with s.life; Close waits
	}
	return nil
}

// Capabilities says what this store can do.
func (s *Store) Capabilities() store.Capabilities {
	return store.Capabilities{
		Name:         "postgres",
		Cues:         []store.Cue{store.CueEmbedding, store.CueSemantic, store.CueContext},
		CommitTimes:  true,
		TextAsVector: true,
		Versions:     true,
		BatchItems:   256,
		BatchBytes:   4 << 20,
		Parallel:     2,
	}
}

// Check says whether the server answers and has our schema, for readiness texts and diagnosis. The error is classified like
// those of Put.
func (s *Store) Check(ctx context.Context) error {
	ctx, done, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer done()
	if _, err := s.ready(ctx); err != nil {
		return s.refused(ctx, err)
	}
	_, err = s.pool.Exec(ctx, "SELECT 1")
	return s.classify(ctx, err)
}

// enter begins a call, whose context ends with the store too. The error is classified.
func (s *Store) enter(ctx context.Context) (context.Context, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, s.mark(errClosed, store.ClassUnavailable)
	}
	s.calls.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.life, func() { cancel(errClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
		s.calls.Done()
	}, nil
}

// Close ends what is under way, waits for it, and closes the connections. Nothing that was confirmed is lost by it. A second
// Close does nothing.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.end(errClosed)
		s.calls.Wait()
		s.pool.Close()
	})
	return nil
}
