package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

// Why a database cannot be used, whatever one waits for.
var (
	ErrNewerSchema = errors.New("a newer version of engram-sidecar has written this database")
	ErrEncoding    = errors.New("the database does not store UTF-8")
)

// The names of what is ours. Everything stands in a schema of its own, beside whatever else the database is for.
const (
	schemaName = "engram_sidecar"
	memories   = schemaName + ".memories"
	versions   = schemaName + ".schema_versions"
)

// schemaVersion is what this build knows and makes: one for each migration.
var schemaVersion = len(migrations)

// layout is what the statements need to know of the database.
type layout struct {
	namespace string // of pgvector, quoted
	iterative bool   // pgvector 0.8 and up goes on searching its index until a filtered query has enough
}

func (l *layout) vector() string   { return l.namespace + ".vector" }
func (l *layout) distance() string { return "OPERATOR(" + l.namespace + ".<=>)" }

// ready returns the layout of a database that has our schema, which it makes, or brings up to date, when it is first asked.
// The errors are not classified, but for those that judge cannot know.
func (s *Store) ready(ctx context.Context) (*layout, error) {
	if known := s.known.Load(); known != nil {
		return known, nil
	}
	select {
	case <-s.turn:
		defer func() { s.turn <- struct{}{} }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if known := s.known.Load(); known != nil {
		return known, nil
	}
	if err := s.migrate(ctx); err != nil {
		return nil, err
	}
	known, err := s.look(ctx)
	if err == nil {
		s.known.Store(known)
	}
	return known, err
}

// forget lets the next call look at the database again, after an answer that does not fit what was seen there.
func (s *Store) forget() { s.known.Store(nil) }

func (s *Store) look(ctx context.Context) (*layout, error) {
	var namespace, version string
	err := s.pool.QueryRow(ctx, `SELECT n.nspname, e.extversion FROM pg_catalog.pg_extension e
		JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector'`).Scan(&namespace, &version)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, store.Denied(errors.New("the extension pgvector is gone: run CREATE EXTENSION vector in this database"))
	}
	if err != nil {
		return nil, fmt.Errorf("look for pgvector: %w", err)
	}
	return &layout{namespace: pgx.Identifier{namespace}.Sanitize(), iterative: atLeast(version, 0, 8)}, nil
}

// atLeast compares the first two numbers of a version.
func atLeast(version string, major, minor int) bool {
	parts := append(strings.SplitN(version, ".", 3), "0")
	x, _ := strconv.Atoi(parts[0]) // 0 for what is no number
	y, _ := strconv.Atoi(parts[1])
	return x > major || x == major && y >= minor
}

// migrate brings the schema up to date, in one transaction. A lock that ends with it lets several sidecars begin at once.
func (s *Store) migrate(ctx context.Context) error {
	version, err := s.version(ctx, s.pool)
	if err != nil || version == schemaVersion {
		return err
	}
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return fmt.Errorf("make the schema %s: %w", schemaName, err)
	}
	defer func() { _ = tx.Rollback(ctx) }() // nothing after a commit
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(schemaLock)); err != nil {
		return fmt.Errorf("wait for other sidecars: %w", err)
	}
	if version, err = s.version(ctx, tx); err != nil {
		return err
	}
	for ; version < schemaVersion; version++ {
		if err := migrations[version](ctx, tx); err != nil {
			return fmt.Errorf("bring the schema %s to version %d: %w; the user needs CREATE on the database for it, or an "+
				"administrator runs what docs/scaling.md says", schemaName, version+1, err)
		}
		if _, err := tx.Exec(ctx, "INSERT INTO "+versions+" (version) VALUES ($1)", int32(version+1)); err != nil { //nolint:gosec // small
			return fmt.Errorf("bring the schema %s to version %d: %w", schemaName, version+1, err)
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("bring the schema %s to version %d: %w", schemaName, version, err)
	}
	s.log.Info("the database has our schema", "address", s.address, "schema", schemaName, "version", version)
	return nil
}

// schemaLock is "engram-s" as a number: pg_advisory_xact_lock's.
const schemaLock = 0x656e6772616d2d73

// querier is a pool or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// version returns the schema's version, 0 where there is none, and refuses what cannot be worked with.
func (s *Store) version(ctx context.Context, q querier) (version int, err error) {
	var encoding string
	var exists bool
	if err := q.QueryRow(ctx, "SELECT current_setting('server_encoding'), to_regclass($1) IS NOT NULL", versions).
		Scan(&encoding, &exists); err != nil {
		return 0, fmt.Errorf("look at the database: %w", err)
	}
	if encoding != "UTF8" {
		return 0, store.Denied(fmt.Errorf("%w: its encoding is %s; make one with CREATE DATABASE … ENCODING 'UTF8'", ErrEncoding, encoding))
	}
	if !exists {
		return 0, nil
	}
	if err := q.QueryRow(ctx, "SELECT coalesce(max(version), 0) FROM "+versions).Scan(&version); err != nil {
		return 0, fmt.Errorf("look at the database: %w", err)
	}
	if version > schemaVersion {
		return 0, store.Denied(fmt.Errorf("%w: its schema %s has version %d, this build knows up to %d; run a build at least as new",
			ErrNewerSchema, schemaName, version, schemaVersion))
	}
	return version, nil
}
