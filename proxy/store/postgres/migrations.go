package postgres

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
)

// migrations lead from each version of the schema to the next. One that was released is never changed.
var migrations = []func(ctx context.Context, tx pgx.Tx) error{
	migrateFirst,
}

// migrateFirst makes what there is, but for what an administrator has made before: a table of memories that is partitioned or
// distributed by space stays as it is, and so does an extension that only a superuser may create.
func migrateFirst(ctx context.Context, tx pgx.Tx) error {
	var hasSchema, hasTable, hasVector bool
	if err := tx.QueryRow(ctx, `SELECT to_regnamespace($1) IS NOT NULL, to_regclass($2) IS NOT NULL,
		EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'vector')`, schemaName, memories).
		Scan(&hasSchema, &hasTable, &hasVector); err != nil {
		return err
	}
	var statements []string
	if !hasSchema { // IF NOT EXISTS asks for the right to create one even where it exists
		statements = append(statements, "CREATE SCHEMA "+schemaName)
	}
	if !hasVector {
		statements = append(statements, "CREATE EXTENSION vector")
	}
	for _, statement := range statements {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return err
		}
	}
	if !hasTable {
		if err := migrateTable(ctx, tx); err != nil {
			return err
		}
	}
	for _, statement := range []string{
		"CREATE INDEX IF NOT EXISTS memories_moment ON " + memories +
			" (space, happened_at DESC NULLS LAST, happened_nanos DESC NULLS LAST, id)",
		"CREATE TABLE IF NOT EXISTS " + versions + " (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())",
	} {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// migrateTable makes the table of memories. Vectors stay in its own pages: a recall that compares all of them reads it from
// one end to the other.
func migrateTable(ctx context.Context, tx pgx.Tx) error {
	var namespace string
	if err := tx.QueryRow(ctx, `SELECT n.nspname FROM pg_catalog.pg_extension e
		JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector'`).Scan(&namespace); err != nil {
		return err
	}
	create := strings.ReplaceAll(createMemories, "vector(768)", pgx.Identifier{namespace}.Sanitize()+".vector(768)")
	if _, err := tx.Exec(ctx, create+" WITH (toast_tuple_target = 8160)"); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "ALTER TABLE "+memories+" ALTER COLUMN embedding SET STORAGE PLAIN")
	return err
}

// createMemories is version 1 of the table. Space is part of every key: partitions and machines can divide it by space.
const createMemories = `CREATE TABLE ` + memories + ` (
	space          text COLLATE "C" NOT NULL,
	id             text COLLATE "C" NOT NULL,
	journal        uuid        NOT NULL,              -- which sidecar's journal the version is from
	version        bigint      NOT NULL,              -- place in that journal
	accepted_at    timestamptz NOT NULL,              -- when that sidecar took it
	committed_at   timestamptz NOT NULL,              -- when it came here
	form           smallint    NOT NULL,              -- of body: 1 Episode, 2 RememberRequest, 3 ExperienceRequest
	happened_at    timestamptz,
	happened_nanos smallint,                          -- below the microsecond
	location       text COLLATE "C" NOT NULL,
	participants   text[] COLLATE "C" NOT NULL,
	tags           text[] COLLATE "C" NOT NULL,
	content        text        NOT NULL,
	body           bytea       NOT NULL,              -- the client's message, without the embedding
	body_hole      integer,                           -- where the embedding was in it; NULL: body is whole
	embedding      vector(768) NOT NULL,
	PRIMARY KEY (space, id)
)`
