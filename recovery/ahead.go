package recovery

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// ahead scans generations before their turn, on all processors: to read and check the bytes takes far longer than to account
// for what they tell, which has to be done in the order of the journal. So a start with a long backlog goes about as fast as
// its files can be read. It holds a piece of a segment in memory for each reader and one more, and what as many generations
// tell beside their writes' bytes; a whole segment where it is damaged.
//
// The goroutines that read belong to it; stop waits for them.
type ahead struct {
	places map[uint64]int
	found  []chan *early
	idle   chan *early
	next   atomic.Int64
	ended  chan struct{}
	wait   sync.WaitGroup
}

// early is one generation, read and checked.
type early struct {
	memory  wal.ScanBuffer
	result  *wal.Scanned
	records []wal.Record
	err     error
}

// readAhead begins to scan generations, which are then taken in that order.
func readAhead(numbers []uint64, scan func(b *wal.ScanBuffer, number uint64) (*wal.Scanned, []wal.Record, error)) *ahead {
	readers := min(runtime.GOMAXPROCS(0), 4, len(numbers))
	a := &ahead{
		places: make(map[uint64]int, len(numbers)), found: make([]chan *early, len(numbers)),
		idle: make(chan *early, readers+1), ended: make(chan struct{}),
	}
	for i, n := range numbers {
		a.places[n], a.found[i] = i, make(chan *early, 1)
	}
	for range cap(a.idle) {
		a.idle <- &early{}
	}
	for range readers {
		a.wait.Go(func() { a.read(numbers, scan) }) // ends at the last generation, or with stop, which waits
	}
	return a
}

// read takes memory first and then the next place, so that the generation whose turn is next always has memory.
func (a *ahead) read(numbers []uint64, scan func(*wal.ScanBuffer, uint64) (*wal.Scanned, []wal.Record, error)) {
	for {
		select {
		case <-a.ended:
			return
		case s := <-a.idle:
			i := int(a.next.Add(1)) - 1
			if i >= len(numbers) {
				return
			}
			s.result, s.records, s.err = scan(&s.memory, numbers[i])
			a.found[i] <- s
		}
	}
}

// take visits what was found in a generation, as a scan does; false where it was not scanned ahead, or was taken before.
func (a *ahead) take(number uint64, visit func(*wal.Record) error) (s *wal.Scanned, taken bool, err error) {
	if a == nil {
		return nil, false, nil
	}
	i, ok := a.places[number]
	if !ok {
		return nil, false, nil
	}
	delete(a.places, number)
	f := <-a.found[i]
	defer func() { a.idle <- f }()
	if f.err != nil {
		return nil, true, f.err
	}
	for k := range f.records {
		if err := visit(&f.records[k]); err != nil {
			return nil, true, err
		}
	}
	return f.result, true, nil
}

func (a *ahead) stop() {
	close(a.ended)
	a.wait.Wait()
}
