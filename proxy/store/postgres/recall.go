package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/pgvector/pgvector-go"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// Recall asks the database: with a vector for the memories of the space whose cosine to it is largest, else for what happened
// last; of those that meet the filter. Without an index, or where that does not find K, every memory of the space is compared,
// and equal scores are ordered by id. A vector of zeros scores 0.
//
// One statement is one snapshot: it sees what was committed when it began, nothing twice.
func (s *Store) Recall(ctx context.Context, q store.Query) (store.Answer, error) {
	if err := check(&q); err != nil {
		return store.Answer{}, s.mark(err, store.ClassPermanent)
	}
	ctx, done, err := s.enter(ctx)
	if err != nil {
		return store.Answer{}, err
	}
	defer done()
	known, err := s.ready(ctx)
	if err != nil {
		return store.Answer{}, s.refused(ctx, err)
	}
	if s.cfg.Index == IndexHNSW && q.Vector != nil {
		hits, err := s.ask(ctx, known, &q, true)
		if err != nil || len(hits) == q.K {
			return answer(hits, &q), err
		}
	}
	hits, err := s.ask(ctx, known, &q, false)
	return answer(hits, &q), err
}

// answer leaves out what scores below the threshold. They come best first, so that it is the same as to ask for them.
func answer(hits []store.Hit, q *store.Query) store.Answer {
	for i := range hits {
		if hits[i].HasScore && hits[i].Score < q.Threshold {
			return store.Answer{Hits: hits[:i]}
		}
	}
	return store.Answer{Hits: hits}
}

func check(q *store.Query) error {
	switch {
	case q.K < 1:
		return fmt.Errorf("max_results: expected 1 or more, got %d", q.K)
	case q.Vector == nil && q.Text != "":
		return errors.New("cue.semantic: expected the vector of its text, got none")
	case q.Vector == nil:
		return nil
	case len(q.Vector) != store.Dimensions:
		return fmt.Errorf("cue.embedding: expected %d dimensions, got %d", store.Dimensions, len(q.Vector))
	}
	for i, v := range q.Vector {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return fmt.Errorf("cue.embedding[%d]: expected a finite number, got %v", i, v)
		}
	}
	return nil
}

// ask puts one question in one transaction, sent and answered at once. Its settings are local, for a pooler's sake.
func (s *Store) ask(ctx context.Context, known *layout, q *store.Query, indexed bool) ([]store.Hit, error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, s.classify(ctx, err)
	}
	defer conn.Release()
	var b pgconn.Batch
	plain := func(statement string) { b.ExecParams(statement, nil, nil, nil, nil) }
	plain("BEGIN TRANSACTION READ ONLY")
	plain("SET LOCAL jit TO off") // compiling the statement takes longer than the statement
	if indexed {
		plain("SET LOCAL hnsw.ef_search TO " + strconv.Itoa(min(max(s.cfg.Search, q.K), maxSearch)))
		if known.iterative {
			plain("SET LOCAL hnsw.iterative_scan TO strict_order")
		}
	}
	question := newQuestion(known, q, indexed)
	b.ExecParams(question.sql, question.params, question.types, binaryFormat, binaryFormat)
	plain("COMMIT")
	var hits []store.Hit
	_, _, err = execute(ctx, conn.Conn().PgConn(), &b, func(values [][]byte) error {
		hit, err := s.hit(values, q.Vector != nil)
		hits = append(hits, hit)
		return err
	})
	if err != nil {
		if judge(err).class == store.ClassDenied {
			s.forget()
		}
		return nil, s.classify(ctx, err)
	}
	return hits, nil
}

// question is a statement with its parameters.
type question struct {
	sql    string
	params [][]byte
	types  []uint32
}

// param adds one and returns its name.
func (out *question) param(value []byte, oid uint32) string {
	out.params, out.types = append(out.params, value), append(out.types, oid)
	return "$" + strconv.Itoa(len(out.params))
}

// The columns of an answer. The score comes last.
const answerColumns = "id, version, journal, committed_at, form, body, body_hole, embedding"

// newQuestion writes the statement. The best are found first and their bodies read then: a sort carries only what it keeps.
// An index of pgvector is used for nothing but an order by the bare distance, which is therefore written only where one is
// wanted; and NaN, the distance of a vector of zeros, counts as 1, a cosine of 0.
func newQuestion(l *layout, q *store.Query, indexed bool) question {
	var out question
	where := out.where(q)
	limit := out.param(int8Of(int64(q.K)), pgtype.Int8OID)
	if q.Vector == nil {
		out.sql = "SELECT " + answerColumns + ", 0::float8 FROM " + memories + " WHERE " + where +
			" ORDER BY happened_at DESC NULLS LAST, happened_nanos DESC NULLS LAST, id LIMIT " + limit
		return out
	}
	vector, _ := pgvector.NewVector(q.Vector).EncodeBinary(nil) // it cannot fail
	bare := "embedding " + l.distance() + " " + out.param(vector, 0) + "::" + l.vector()
	const defined = "coalesce(nullif(%s, 'NaN'::float8), 1)"
	if indexed {
		out.sql = "SELECT " + answerColumns + ", 1 - " + fmt.Sprintf(defined, "distance") + " FROM (SELECT " + answerColumns + ", " + bare +
			" AS distance FROM " + memories + " WHERE " + where + " ORDER BY " + bare + " LIMIT " + limit + ") AS best ORDER BY " +
			fmt.Sprintf(defined, "distance") + ", id"
		return out
	}
	out.sql = "SELECT " + answerColumns + ", 1 - distance FROM (SELECT " + answerColumns + ", " + fmt.Sprintf(defined, bare) +
		" AS distance FROM " + memories + " WHERE " + where + " ORDER BY distance, id LIMIT " + limit + ") AS best ORDER BY distance, id"
	return out
}

// where is the condition for all that may answer.
func (out *question) where(q *store.Query) string {
	conditions := []string{"space = " + out.param([]byte(q.Space), pgtype.TextOID)}
	and := func(format string, params ...any) { conditions = append(conditions, fmt.Sprintf(format, params...)) }
	moment := func(at time.Time) (string, string) {
		when, nanos := momentOf(at)
		return out.param(when, pgtype.TimestamptzOID), out.param(nanos, pgtype.Int2OID)
	}
	if !q.Before.IsZero() {
		and("committed_at < %s", out.param(timestampOf(roundUp(q.Before)), pgtype.TimestamptzOID))
	}
	f := &q.Filter
	if !f.From.IsZero() {
		when, nanos := moment(f.From)
		and("(happened_at, happened_nanos) >= (%s, %s)", when, nanos)
	}
	if !f.To.IsZero() {
		when, nanos := moment(f.To)
		and("(happened_at, happened_nanos) < (%s, %s)", when, nanos)
	}
	if f.Place != "" {
		and("location = %s", out.param(textOf(f.Place), pgtype.TextOID))
	}
	if len(f.People) > 0 {
		and("participants @> %s", out.param(textArrayOf(f.People), pgtype.TextArrayOID))
	}
	if len(f.With) > 0 {
		and("tags @> %s", out.param(textArrayOf(f.With), pgtype.TextArrayOID))
	}
	if len(f.Without) > 0 {
		and("NOT tags && %s", out.param(textArrayOf(f.Without), pgtype.TextArrayOID))
	}
	return strings.Join(conditions, " AND ")
}

// roundUp makes a moment one that PostgreSQL can hold, such that the same memories come before it.
func roundUp(at time.Time) time.Time {
	if beyond := at.Nanosecond() % int(time.Microsecond); beyond != 0 {
		return at.Add(time.Microsecond - time.Duration(beyond))
	}
	return at
}

// hit reads a row of an answer. The version of another journal compares with nothing here, so it is not told.
func (s *Store) hit(values [][]byte, scored bool) (store.Hit, error) {
	const width = 9
	if len(values) != width {
		return store.Hit{}, fmt.Errorf("expected %d columns, got %d: is something else between us and PostgreSQL?", width, len(values))
	}
	hit := store.Hit{
		ID: string(values[0]), CommittedAt: timeOf(values[3]),
		Form: wal.Form(binary.BigEndian.Uint16(values[4])), HasScore: scored, //nolint:gosec // 1 to 3
		Score: float32(math.Float64frombits(binary.BigEndian.Uint64(values[8]))),
	}
	if [16]byte(values[2]) == s.cfg.Journal {
		hit.Version = binary.BigEndian.Uint64(values[1])
	}
	if values[6] == nil {
		hit.Body = append([]byte(nil), values[5]...)
		return hit, nil
	}
	var embedding pgvector.Vector
	if err := embedding.DecodeBinary(values[7]); err != nil {
		return hit, fmt.Errorf("the embedding of %q: %w", hit.ID, err)
	}
	hole := int(binary.BigEndian.Uint32(values[6]))
	if hole > len(values[5]) {
		return hit, fmt.Errorf("the body of %q has %d bytes, and its embedding should be at %d: was it changed by hand?", hit.ID, len(values[5]), hole)
	}
	hit.Body = join(values[5], hole, embedding.Slice())
	return hit, nil
}
