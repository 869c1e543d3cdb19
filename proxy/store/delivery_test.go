package store

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// TestDelivery gives each record of three sessions, and of none, an answer.
func TestDelivery(t *testing.T) {
	var batch []wal.Record
	for i, session := range []byte{1, 2, 0, 1, 2, 0, 1, 3, 2, 3} {
		batch = append(batch, wal.Record{Index: uint64(i), Session: wal.SessionID{session}})
	}
	errOdd, errHiccup, errDown := errors.New("odd"), errors.New("hiccup"), Unavailable(errors.New("down"))
	d := NewDelivery(batch, func(r *wal.Record) (string, error) {
		if r.Index == 7 {
			return "", errOdd
		}
		return fmt.Sprint(r.Index), nil
	})
	left := func(want ...string) {
		t.Helper()
		if !slices.Equal(d.Items, want) {
			t.Errorf("%v are left, expected %v", d.Items, want)
		}
	}
	left("0", "1", "2", "3", "4", "5", "6", "8", "9")
	d.Done(1)
	d.Answer(errHiccup) // 4 and 8 wait behind it
	left("2", "3", "5", "6", "9")
	d.Answer(errHiccup) // without a session: nothing waits
	d.Answer(Permanent(errOdd))
	left("5", "6", "9")
	if d.First().Index != 5 {
		t.Errorf("the first is %d", d.First().Index)
	}
	d.Answer(nil)
	d.GiveUp(errDown)
	left()
	want := []error{nil, errHiccup, errHiccup, errOdd, ErrBehind, nil, errDown, errOdd, ErrBehind, errDown}
	for i, err := range d.Answers() {
		if !errors.Is(err, want[i]) {
			t.Errorf("%d: %v, expected %v", i, err, want[i])
		}
	}
	if ClassOf(d.Answers()[7]) != ClassPermanent {
		t.Error("what nothing can be made of is not refused for good")
	}
}
