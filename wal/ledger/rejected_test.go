package ledger

import (
	"os"
	"slices"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// The dead letters of a session are known by sequence, wherever the ledger learns of them: of the store, of its file, of the
// journal; and no more once they have met another fate.
func TestRejected(t *testing.T) {
	d := newDesk(t)
	d.commit(opened(1), opened(2))
	at := d.commit(observations(1, 9)...)
	other := d.commit(observed(2, 5))
	alone := d.commit(wal.Record{Kind: wal.KindWrite, Form: wal.FormRemember, Lane: wal.LaneNormal, Space: "default", ID: []byte("abc"), Payload: []byte("x")})
	for _, i := range []int{6, 1, 2, 8} {
		d.bury(at[i], observed(1, uint64(i)+1))
	}
	d.bury(other[0], observed(2, 5))
	d.bury(alone[0], wal.Record{Kind: wal.KindWrite, Space: "default", ID: []byte("abc"), Payload: []byte("x")})
	want := func(want ...uint64) {
		t.Helper()
		if got := d.Rejected(id(1), 0, 1<<60, 100); !slices.Equal(got, want) {
			t.Fatalf("rejected %v, want %v", got, want)
		}
		if got := d.Rejected(id(2), 0, 5, 100); !slices.Equal(got, []uint64{5}) {
			t.Fatalf("rejected of the other session %v, want 5", got)
		}
		if got := d.Rejected(wal.SessionID{}, 0, 5, 100); got != nil {
			t.Fatalf("rejected of no session: %v", got)
		}
	}
	want(2, 3, 7, 9)
	for _, row := range []struct {
		after, through uint64
		limit          int
		want           []uint64
	}{
		{2, 9, 9, []uint64{3, 7, 9}}, {2, 8, 9, []uint64{3, 7}}, {0, 9, 2, []uint64{2, 3}}, {9, 20, 9, nil}, {5, 4, 9, nil},
	} {
		if got := d.Rejected(id(1), row.after, row.through, row.limit); !slices.Equal(got, row.want) {
			t.Errorf("rejected above %d to %d, at most %d: %v, want %v", row.after, row.through, row.limit, got, row.want)
		}
	}
	d.flush()
	d.reload(nil)
	want(2, 3, 7, 9)

	d.generation()
	for _, i := range []int{1, 6} {
		l := letterAt(at[i], observed(1, uint64(i)+1))
		d.commit(l.record())
	}
	settled := wal.Settled{Index: at[8], Fate: wal.Delivered}
	d.commit(wal.Record{Kind: wal.KindSettled, Payload: settled.Append(nil)})
	want(2, 3, 7)
	d.reload(func() {
		if err := os.Remove(d.path()); err != nil {
			t.Fatal(err)
		}
	})
	if got := d.Rejected(id(1), 0, 1<<60, 100); !slices.Equal(got, []uint64{2, 7}) {
		t.Fatalf("rejected without the file %v, want those that the journal carries: 2 and 7", got)
	}
}
