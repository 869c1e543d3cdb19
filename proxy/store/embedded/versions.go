package embedded

import (
	"bytes"
	"context"
	"fmt"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

// Versions returns the version of each id that the store holds in a space, 0 where it holds none. A memory that is damaged
// counts as held: its version was stored.
func (s *Store) Versions(ctx context.Context, space string, ids []string) ([]uint64, error) {
	if err := s.enter(); err != nil {
		return nil, store.Unavailable(err)
	}
	defer s.leave()
	versions := make([]uint64, len(ids))
	for i, id := range ids {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("embedded store: versions: %w", err)
		}
		for _, found := range s.named(hashOf(space, []byte(id))) {
			var b body
			err := s.readHead(found.seg, &found.seg.rows[found.place], &b)
			if err != nil || (string(b.space) == space && bytes.Equal(b.id, []byte(id))) {
				versions[i] = found.seg.rows[found.place].version
				break
			}
		}
	}
	return versions, nil
}

// spot is where a row stands.
type spot struct {
	seg   *segment
	place int
}

// named returns the newest rows of all ids with a hash; nearly always there is one. The table belongs to the writer, who
// changes it under mu alone.
func (s *Store) named(hash uint64) (spots []spot) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	s.table.find(hash, s.hashAt, func(row uint32) bool {
		spots = append(spots, spot{s.segments[s.layout.segmentOf(row)], s.layout.placeOf(row)})
		return false
	})
	return spots
}
