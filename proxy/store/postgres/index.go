package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	firstPause = time.Second
	mostPause  = time.Minute
	// lookAgain is how often a keeper that has nothing to do looks for new partitions, and for an index that went bad.
	lookAgain = 10 * time.Minute
)

// errBeingBuilt says that somebody else builds the index just now.
var errBeingBuilt = errors.New("the index is being built by someone else")

// keepIndex builds what the setting asks for, beside all other work, and again where it was left half built. It ends with
// the store.
func (s *Store) keepIndex() {
	for pause := time.Duration(0); ; {
		wake := time.NewTimer(pause)
		select {
		case <-wake.C:
		case <-s.life.Done():
			wake.Stop()
			return
		}
		switch err := s.buildIndexes(s.life); {
		case err == nil:
			pause = lookAgain
		case errors.Is(err, errBeingBuilt):
			pause = firstPause
		case s.life.Err() == nil:
			pause = min(max(2*pause, firstPause), mostPause)
			s.log.Warn("the hnsw index is not there yet, recalls compare every memory; it is tried again", "address", s.address,
				"again_in", pause, "reason", s.classify(s.life, err))
		}
	}
}

// A leaf is a table that holds memories itself: the one there is, or a partition of it.
type leaf struct {
	oid             uint32
	namespace, name string
}

func (l leaf) table() string { return pgx.Identifier{l.namespace, l.name}.Sanitize() }

// index is the name of ours. The server cuts off what is longer.
func (l leaf) index() string {
	const suffix, longest = "_hnsw", 63
	return l.name[:min(len(l.name), longest-len(suffix))] + suffix
}

// buildIndexes brings every leaf its index. A partitioned table cannot have one built concurrently as a whole.
func (s *Store) buildIndexes(ctx context.Context) error {
	known, err := s.ready(ctx)
	if err != nil {
		return err
	}
	rows, err := s.pool.Query(ctx, `SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND (c.oid = $1::regclass
		OR c.oid IN (SELECT relid FROM pg_partition_tree($1::regclass) WHERE isleaf)) ORDER BY c.relname`, memories)
	if err != nil {
		return fmt.Errorf("look for tables: %w", err)
	}
	leaves, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (l leaf, err error) {
		return l, row.Scan(&l.oid, &l.namespace, &l.name)
	})
	if err != nil {
		return fmt.Errorf("look for tables: %w", err)
	}
	for _, l := range leaves {
		if err := s.buildIndex(ctx, known, l); err != nil {
			return fmt.Errorf("index of %s: %w", l.table(), err)
		}
	}
	return nil
}

// buildIndex builds one. The statement cannot run within a transaction, and a lock that ends with one cannot hold others
// off; what keeps two sidecars from building it twice is its name.
func (s *Store) buildIndex(ctx context.Context, known *layout, l leaf) error {
	if there, err := s.clearIndex(ctx, l); there || err != nil {
		return err
	}
	began := time.Now()
	s.log.Info("building the hnsw index, beside all other work", "address", s.address, "table", l.table())
	_, err := s.pool.Exec(ctx, "CREATE INDEX CONCURRENTLY IF NOT EXISTS "+pgx.Identifier{l.index()}.Sanitize()+" ON "+l.table()+
		" USING hnsw (embedding "+known.namespace+".vector_cosine_ops)")
	var refusal *pgconn.PgError
	if errors.As(err, &refusal) && (refusal.Code == uniqueViolation || refusal.Code == duplicateTable) {
		return errBeingBuilt // another had the same idea at the same moment
	}
	if err != nil {
		return err
	}
	if there, err := s.clearIndex(ctx, l); !there || err != nil {
		return errors.Join(err, errBeingBuilt) // it was there when we asked for it, and is not ready
	}
	s.log.Info("the hnsw index is built", "address", s.address, "table", l.table(), "took", time.Since(began))
	return nil
}

const (
	uniqueViolation = "23505"
	duplicateTable  = "42P07"
)

// clearIndex says whether the leaf has an index that works. One of ours that a crash left half built, which every insert has
// to pay for and no recall can use, is dropped. One sidecar at a time decides that.
func (s *Store) clearIndex(ctx context.Context, l leaf) (there bool, err error) {
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback(ctx) }() // nothing after a commit
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(schemaLock)); err != nil {
		return false, err
	}
	var broken, building bool
	if err := tx.QueryRow(ctx, `SELECT coalesce(bool_or(i.indisvalid), false),
			coalesce(bool_or(NOT i.indisvalid AND c.relname = $2), false),
			EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p
				WHERE p.datname = current_database() AND (p.relid = $1 OR p.relid IS NULL))
		FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
		JOIN pg_catalog.pg_am a ON a.oid = c.relam JOIN pg_catalog.pg_opclass o ON o.oid = i.indclass[0]
		WHERE i.indrelid = $1 AND a.amname = 'hnsw' AND o.opcname = 'vector_cosine_ops'`, l.oid, l.index()).
		Scan(&there, &broken, &building); err != nil {
		return false, err
	}
	switch {
	case there:
		return true, nil
	case building:
		return false, errBeingBuilt
	case !broken:
		return false, nil
	}
	s.log.Warn("an hnsw index was left half built, and is built anew", "address", s.address, "table", l.table())
	for _, statement := range []string{
		"SET LOCAL lock_timeout TO '5s'", // it waits for whoever uses the table, and everybody else would wait behind it
		"DROP INDEX " + pgx.Identifier{l.namespace, l.index()}.Sanitize(),
	} {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return false, err
		}
	}
	return false, tx.Commit(ctx)
}
