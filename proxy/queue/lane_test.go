package queue

import (
	"math"
	"testing"
	"time"
	"unsafe"
)

var epoch = time.Unix(1_700_000_000, 0)

func fixed() time.Time { return epoch }

func (q *Queue) bytes() int {
	n := 0
	for i := range q.lanes {
		for c := q.lanes[i].first; c != nil; c = c.next {
			n += int(unsafe.Sizeof(*c))
		}
		if q.lanes[i].spare != nil {
			n += int(unsafe.Sizeof(chunk{}))
		}
	}
	return n
}

func TestChunkFillsItsSizeClass(t *testing.T) {
	if size := unsafe.Sizeof(chunk{}); size != 4096 {
		t.Errorf("a chunk takes %d bytes, want 4096", size)
	}
}

func TestLongRunsCostLittle(t *testing.T) {
	q := New(Config{}, fixed)
	for index := uint64(1); index <= 10_000_000; index += 100 {
		q.PushRun(1, index, index+99, epoch.Add(time.Duration(index)*10*time.Microsecond)) // 100,000 a second
	}
	if got := q.bytes(); got > 16<<10 {
		t.Errorf("ten million references in runs take %d bytes, want at most 16 KiB", got)
	}
}

func TestInterleavedLanesCostLittle(t *testing.T) {
	const n = 300_000
	q := New(Config{}, fixed)
	for index := uint64(1); index <= n; index++ {
		q.Push(int(index%Lanes), index, epoch)
	}
	if got := q.bytes(); got > 9*n {
		t.Errorf("%d references without runs take %d bytes, want at most %d", n, got, 9*n)
	}
	for taken := 0; taken < n; taken += 1000 {
		if _, err := q.Take(t.Context(), 1000, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got, most := q.bytes(), Lanes*2*4096; got > most {
		t.Errorf("an emptied queue keeps %d bytes, want at most %d", got, most)
	}
}

func TestRunsEndWhereTheirFieldsDo(t *testing.T) {
	q := New(Config{}, fixed)
	const first = math.MaxUint32 - 10 // across the border of 32 bits, and longer than one run can be
	const last = first + 200_000
	q.PushRun(2, first, last, epoch)
	half, err := q.Take(t.Context(), 100_000, nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Return(half)
	refs, err := q.Take(t.Context(), 1_000_000, nil)
	if err != nil || len(refs) != last-first+1 {
		t.Fatalf("took %d references, %v; want %d", len(refs), err, last-first+1)
	}
	for i, r := range refs {
		if r != (Ref{Index: first + uint64(i), Lane: 2, At: epoch}) {
			t.Fatalf("reference %d is %v", i, r)
		}
	}
}

func TestAnImpossibleRunIsIgnored(t *testing.T) {
	q := New(Config{}, fixed)
	q.PushRun(0, 9, 7, epoch)
	if got := q.Depths(); got != [Lanes]int{} {
		t.Errorf("Depths() = %v after an empty run", got)
	}
}
