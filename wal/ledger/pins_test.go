package ledger

import (
	"maps"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// TestTheCountsOfSessionsAreWhatAWalkOverThemWouldFind: whatever happens to sessions, the counts that spare the keeper a walk
// over all of them say what the walk would.
func TestTheCountsOfSessionsAreWhatAWalkOverThemWouldFind(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newIndex(nil)
		number, index := uint64(1), uint64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			index++
			r := wal.Record{
				Index: index, Session: numbered(rapid.IntRange(0, 4).Draw(t, "session")), Lane: wal.LaneNormal, Sequence: index,
				Space: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "space"), Time: time.Now().UnixNano(),
			}
			r.Kind = rapid.SampledFrom([]wal.Kind{
				wal.KindSessionOpened, wal.KindWrite, wal.KindWrite, wal.KindWrite, wal.KindSessionClosed, wal.KindSessionExpired,
			}).Draw(t, "kind")
			switch rapid.IntRange(0, 9).Draw(t, "beside") {
			case 0:
				number++
			case 1:
				x.raise(Session{ID: r.Session, Space: r.Space, Lane: r.Lane, Last: index}, true)
			}
			if err := x.apply(number, &r); err != nil {
				t.Fatal(err)
			}
			pins, dirty := map[uint64]int{}, map[wal.SessionID]bool{}
			for id, s := range x.sessions {
				pins[s.home]++
				if s.strayed && s.told != s.home {
					pins[s.told]++
				}
				if s.dirty {
					dirty[id] = true
				}
				if x.orphan(s) && !x.orphans {
					t.Fatalf("session %v is told of by no generation, and nobody would look for it", id)
				}
			}
			if !maps.Equal(pins, x.pins) {
				t.Fatalf("counted %v, want %v", x.pins, pins)
			}
			for _, s := range x.unflushed {
				delete(dirty, s.ID)
			}
			if len(dirty) > 0 {
				t.Fatalf("never written down: %v", dirty)
			}
		}
	})
}
