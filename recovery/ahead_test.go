package recovery

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// standIn is what a scan of generation n would find: so many records as its number.
func standIn(n uint64) (s *wal.Scanned, records []wal.Record) {
	for i := range n {
		records = append(records, wal.Record{Index: 100*n + i})
	}
	return &wal.Scanned{Number: n}, records
}

func TestAheadKeepsTheOrder(t *testing.T) {
	var numbers []uint64
	for n := uint64(1); n <= 50; n++ {
		numbers = append(numbers, n)
	}
	var busy, crowded atomic.Int64
	a := readAhead(numbers, func(_ *wal.ScanBuffer, n uint64) (*wal.Scanned, []wal.Record, error) {
		if now := busy.Add(1); now > 4 {
			crowded.Store(now)
		}
		defer busy.Add(-1)
		s, records := standIn(n)
		return s, records, nil
	})
	defer a.stop()
	for _, n := range numbers {
		var got []uint64
		s, taken, err := a.take(n, func(r *wal.Record) error { got = append(got, r.Index); return nil })
		if err != nil || !taken || s.Number != n || uint64(len(got)) != n || !slices.IsSorted(got) || got[0] != 100*n {
			t.Fatalf("generation %d: %+v, %v, %v: records %v", n, s, taken, err, got)
		}
	}
	if n := crowded.Load(); n != 0 {
		t.Errorf("%d at once", n)
	}
	if _, taken, err := a.take(50, nil); taken || err != nil {
		t.Errorf("taken twice: %v", err)
	}
	if _, taken, _ := (*ahead)(nil).take(1, nil); taken {
		t.Error("taken from nothing")
	}
}

// A start that ends early, by an error of a scan or of what is done with a record, leaves nobody behind: see TestMain.
func TestAheadEndsEarly(t *testing.T) {
	broken, tired := errors.New("broken disk"), errors.New("enough")
	for stopAt := uint64(1); stopAt <= 6; stopAt++ {
		a := readAhead([]uint64{1, 2, 3, 4, 5, 6, 7, 8, 9}, func(_ *wal.ScanBuffer, n uint64) (*wal.Scanned, []wal.Record, error) {
			if n == 5 {
				return nil, nil, fmt.Errorf("generation %d: %w", n, broken)
			}
			s, records := standIn(n)
			return s, records, nil
		})
		var err error
		for n := uint64(1); n <= stopAt && err == nil; n++ {
			_, _, err = a.take(n, func(*wal.Record) error {
				if n == 4 && stopAt == 4 {
					return tired
				}
				return nil
			})
		}
		a.stop()
		if stopAt == 4 && !errors.Is(err, tired) || stopAt > 4 && !errors.Is(err, broken) || stopAt < 4 && err != nil {
			t.Errorf("stopped at %d: %v", stopAt, err)
		}
	}
}
