package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// Put stores the batch, as far as it can in one transaction, and returns an error for each record, nil for those that are
// committed or superseded. See the package comment for how refusals are told apart.
func (s *Store) Put(ctx context.Context, batch []wal.Record) []error {
	rd := reader{journal: s.cfg.Journal[:]}
	d := store.NewDelivery(batch, rd.row)
	if len(d.Items) == 0 {
		return d.Answers()
	}
	ctx, done, err := s.enter(ctx)
	if err != nil {
		d.GiveUp(err)
		return d.Answers()
	}
	defer done()
	s.deliver(ctx, d)
	return d.Answers()
}

// delivery is one Put, its records as the parameters of a row.
type delivery = store.Delivery[[][]byte]

// deliver gets what a transaction needs.
func (s *Store) deliver(ctx context.Context, d *delivery) {
	known, err := s.ready(ctx)
	if err != nil {
		d.GiveUp(s.refused(ctx, err))
		return
	}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		d.GiveUp(s.classify(ctx, err))
		return
	}
	defer conn.Release() // one that is broken, or within a transaction, is not used again
	s.run(ctx, d, conn.Conn().PgConn(), insertInto(known))
}

// refused classifies what ready says: an error that bears a class of its own keeps it.
func (s *Store) refused(ctx context.Context, err error) error {
	if class := store.ClassOf(err); class != store.ClassTransient {
		return s.mark(err, class)
	}
	return s.classify(ctx, err)
}

const (
	// afterRefusal is how many rows go together next to one that was refused; it doubles with each transaction that succeeds.
	afterRefusal = 16
	// conflicts is how often a transaction is tried at once that lost to another.
	conflicts = 4
)

// run stores what there is to do: all of it in one transaction, and where the server refuses a row, those before it in one,
// that row in another, and then those behind it, in order.
func (s *Store) run(ctx context.Context, d *delivery, conn *pgconn.PgConn, statement string) {
	together, lost := len(d.Items), 0
	for len(d.Items) > 0 {
		n := min(together, len(d.Items))
		at, err := insert(ctx, conn, statement, d.Items[:n])
		if err == nil {
			d.Done(n)
			together, lost = 2*n, 0
			continue
		}
		switch v := judge(err); {
		case v.again:
			if lost++; lost == conflicts {
				d.GiveUp(s.mark(fmt.Errorf("%w: %w", errTooOften, err), v.class))
			}
		case !v.ofRow:
			s.forget()
			d.GiveUp(s.classify(ctx, unknown(err)))
		case at > 0:
			together = at
		case n > 1 && at < 0: // at the commit: a constraint that is checked last
			together = n / 2
		default:
			d.Answer(s.mark(err, v.class))
			together = afterRefusal
		}
	}
}

// unknown says of an error that is not the server's that the transaction may have been committed.
func unknown(err error) error {
	var refusal *pgconn.PgError
	if errors.As(err, &refusal) || pgconn.SafeToRetry(err) {
		return err
	}
	return fmt.Errorf("%w: %w", errUnknown, err)
}

// insertInto is the statement that stores one memory, unless the one there is not older; doc.go says what older means.
func insertInto(l *layout) string {
	names := strings.Split(columns, ", ")
	values, sets := make([]string, 0, len(names)), make([]string, 0, len(names))
	for i, name := range names {
		value := fmt.Sprintf("$%d", i+1)
		if name == "embedding" {
			value += "::" + l.vector()
		}
		values = append(values, value)
		set := "EXCLUDED." + name
		if name == "accepted_at" {
			set = "greatest(m.accepted_at, EXCLUDED.accepted_at)"
		}
		sets = append(sets, name+" = "+set)
	}
	return "INSERT INTO " + memories + " AS m (" + columns + ", committed_at) VALUES (" + strings.Join(values, ", ") +
		", clock_timestamp()) ON CONFLICT (space, id) DO UPDATE SET " + strings.Join(sets, ", ") +
		", committed_at = clock_timestamp() WHERE m.journal = EXCLUDED.journal AND m.version < EXCLUDED.version" +
		" OR (m.accepted_at, m.journal) < (EXCLUDED.accepted_at, EXCLUDED.journal)"
}

// leading is how many answers come before the first row's.
const leading = 2

// insert stores rows in one transaction, sent and answered at once. With an error nothing is stored, or nobody knows; at is the
// place of the row that the server refused, or -1 where it was not about one.
//
// Nothing here outlives the transaction on the connection: the statement has no name, the setting is local. So each
// transaction may run on another connection of a pooler.
func insert(ctx context.Context, conn *pgconn.PgConn, statement string, rows [][][]byte) (at int, err error) {
	var b pgconn.Batch
	b.ExecParams("BEGIN", nil, nil, nil, nil)
	b.ExecParams("SET LOCAL synchronous_commit TO on", nil, nil, nil, nil) // whatever role, database and server say
	b.ExecParams(statement, rows[0], columnTypes, binaryFormat, nil)
	for _, row := range rows[1:] {
		b.ExecPrepared("", row, binaryFormat, nil)
	}
	b.ExecParams("COMMIT", nil, nil, nil, nil)
	answers, last, err := execute(ctx, conn, &b, nil)
	if err == nil && last != "COMMIT" {
		err = fmt.Errorf("the server answered COMMIT by %s", last) // and has not committed
	}
	if at = answers - leading; at < 0 || at >= len(rows) {
		at = -1
	}
	return at, err
}

// execute sends a batch, visits the rows that it brings, and returns how many statements were answered, and how the last
// one was. After an error the connection is outside of any transaction, or closed.
func execute(ctx context.Context, conn *pgconn.PgConn, b *pgconn.Batch, visit func([][]byte) error) (answers int, last string, err error) {
	results := conn.ExecBatch(ctx, b)
	var broken error
	for results.NextResult() {
		r := results.ResultReader()
		for r.NextRow() {
			if broken == nil && visit != nil {
				broken = visit(r.Values())
			}
		}
		tag, err := r.Close()
		if err != nil {
			break // and Close says the same
		}
		answers, last = answers+1, tag.String()
	}
	if err := results.Close(); err != nil {
		rollBack(ctx, conn)
		return answers, last, err
	}
	return answers, last, broken
}

// rollBack ends a transaction that failed. Where that fails too the connection is not used again.
func rollBack(ctx context.Context, conn *pgconn.PgConn) {
	const outside = 'I'
	if !conn.IsClosed() && conn.TxStatus() != outside {
		_, _ = conn.Exec(ctx, "ROLLBACK").ReadAll() // the pool sees that it is still within a transaction
	}
}
