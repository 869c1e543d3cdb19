package postgres

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

const askVersions = "SELECT id, version FROM " + memories + " WHERE space = $1 AND journal = $2 AND id = ANY($3)"

// Versions returns the version of each id that the database holds in a space, 0 where it holds none. One of another journal
// counts as none, as in Recall: with it nothing compares that is pending here.
func (s *Store) Versions(ctx context.Context, space string, ids []string) ([]uint64, error) {
	versions := make([]uint64, len(ids))
	places := make(map[string][]int, len(ids))
	var asked []string
	for i, id := range ids {
		if strings.Contains(id, "\x00") {
			continue // which the database cannot hold
		}
		if places[id] == nil {
			asked = append(asked, id)
		}
		places[id] = append(places[id], i)
	}
	if len(asked) == 0 {
		return versions, nil
	}
	ctx, done, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if _, err := s.ready(ctx); err != nil {
		return nil, s.refused(ctx, err)
	}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, s.classify(ctx, err)
	}
	defer conn.Release()
	var b pgconn.Batch
	params := [][]byte{[]byte(space), s.cfg.Journal[:], textArrayOf(asked)}
	b.ExecParams(askVersions, params, []uint32{pgtype.TextOID, pgtype.UUIDOID, pgtype.TextArrayOID}, binaryFormat, binaryFormat)
	_, _, err = execute(ctx, conn.Conn().PgConn(), &b, func(values [][]byte) error {
		if len(values) != 2 || len(values[1]) != 8 {
			return fmt.Errorf("expected an id and a version, got %d columns: is something else between us and PostgreSQL?", len(values))
		}
		for _, i := range places[string(values[0])] {
			versions[i] = binary.BigEndian.Uint64(values[1])
		}
		return nil
	})
	if err != nil {
		return nil, s.classify(ctx, err)
	}
	return versions, nil
}
