package recovery

import (
	"bytes"
	"os"
	"runtime"
	"slices"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// journaled is a directory with one generation whose last batches the ledger's file does not know, as a kill leaves them:
// six batches, the fifth of three records. It returns the indexes of the writes.
func journaled(t *testing.T) (dir string, writes []uint64) {
	t.Helper()
	h := openDir(t, memoryDir(t))
	h.begin(1)
	for i := range uint64(3) {
		writes = append(writes, h.write(1, i+1, 10))
	}
	for _, r := range h.batch(observation(1, 4, 5), observation(1, 5, 5), observation(1, 6, 5)) {
		writes = append(writes, r.Index)
	}
	writes = append(writes, h.write(1, 7, 10))
	return h.crash(), writes
}

// A segment cut at any byte opens, with exactly the records that are whole; what was cut is kept; a write after it and
// another start find all in order.
func TestTornAtEveryByte(t *testing.T) {
	dir, writes := journaled(t)
	whole := segment(t, dir, 1)
	s := scanned(t, dir, 1)
	for cut := range len(whole) {
		var have []uint64
		for _, i := range writes {
			end := len(whole)
			if next := i - s.Base + 1; next < uint64(len(s.Offsets)) {
				end = int(s.Offsets[next]) - 1 // the length before a short frame takes one byte
			}
			if end <= cut {
				have = append(have, i)
			}
		}
		tornAt(t, copyDir(t, dir), cut, have)
	}
}

func tornAt(t *testing.T, dir string, cut int, have []uint64) {
	t.Helper()
	var tail []byte
	overwrite(t, dir, 1, func(b []byte) []byte { return b[:cut] })
	if good := goodBytes(t, dir); good < cut {
		tail = segment(t, dir, 1)[good:]
	}
	h := openDir(t, dir)
	if !slices.Equal(h.indexes(), have) || len(h.Report.Damages) != 0 {
		t.Fatalf("cut at %d: writes %v, want %v; damages %v", cut, h.indexes(), have, h.Report.Damages)
	}
	last := uint64(len(have))
	if s := h.session(1); s.Last != last {
		t.Fatalf("cut at %d: session %+v, want last %d", cut, s, last)
	}
	if torn := h.Report.Torn; (torn != nil) != (tail != nil) || (torn != nil && torn.Length != int64(len(tail))) {
		t.Fatalf("cut at %d: report of a torn tail %v, want %d bytes", cut, torn, len(tail))
	}
	kept := quarantine(t, dir)
	if tail != nil {
		b, err := os.ReadFile(kept[0])
		fi, statErr := os.Stat(kept[0])
		if err != nil || statErr != nil || !bytes.Equal(b, tail) || fi.Mode().Perm() != 0o600 || len(kept) != 1 {
			t.Fatalf("cut at %d: kept %v: %d bytes, %v %v", cut, kept, len(b), err, statErr)
		}
	}
	h.write(1, last+1, 10)
	h = h.reopen()
	if s := h.session(1); s.Last != last+1 || h.Report.Torn != nil || len(h.Report.Damages) != 0 || len(quarantine(t, dir)) != len(kept) {
		t.Fatalf("cut at %d: second start: session %+v, report %+v", cut, s, h.Report)
	}
	h.balanced(balance(last+1, 0, 0, 0))
	h.close()
	_ = os.RemoveAll(dir)
}

// goodBytes is how many bytes of generation 1 are whole frames.
func goodBytes(t *testing.T, dir string) int {
	t.Helper()
	return int(scanned(t, dir, 1).End)
}

// Whatever lies behind the last batch, it is no record.
func TestForeignTails(t *testing.T) {
	dir, writes := journaled(t)
	s := scanned(t, dir, 1)
	whole := segment(t, dir, 1)
	older := func(first, last uint64) []byte { return whole[s.Offsets[first-1]-1 : s.Offsets[last]-1] }
	for name, tail := range map[string][]byte{
		"a zero":                      make([]byte, 1),
		"zeros":                       make([]byte, 4096),
		"ones":                        bytes.Repeat([]byte{0xff}, 600),
		"text":                        []byte("EgmJ nothing of ours EgmJ"),
		"a frame that stood before":   older(3, 3),
		"frames that stood before":    older(3, 5),
		"all that stood before":       whole,
		"a frame without its payload": whole[s.Offsets[6]-1 : s.Offsets[7]-20],
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyDir(t, dir)
			overwrite(t, dir, 1, func(b []byte) []byte { return append(b, tail...) })
			h := openDir(t, dir)
			if !slices.Equal(h.indexes(), writes) || h.session(1).Last != 7 || len(h.Report.Damages) != 0 {
				t.Fatalf("writes %v, want %v; report %+v", h.indexes(), writes, h.Report)
			}
			if h.Report.Torn == nil || h.Report.Torn.Length != int64(len(tail)) {
				t.Fatalf("torn %v, want %d bytes", h.Report.Torn, len(tail))
			}
		})
	}
}

// Where the ledger knows a record of the last batch to have been durable, what damaged it is no torn tail: it is told, and
// what stands around it stays.
func TestRotInTheLastBatchThatTheLedgerKnows(t *testing.T) {
	h := openDir(t, memoryDir(t))
	h.begin(1)
	h.write(1, 1, 10)
	all := h.batch(observation(1, 2, 10), observation(1, 3, 10), observation(1, 4, 10), observation(1, 5, 10))
	h.flush()
	dir := h.crash()
	hurt := all[len(all)-2] // in the middle of the second batch of these
	flip(t, dir, 1, false, hurt.Index)
	r := openDir(t, dir)
	if len(r.Report.Damages) != 1 || r.Report.Torn != nil || r.Report.Lost != 1 || r.session(1).Last != 5 {
		t.Fatalf("report %+v, session %+v", r.Report, r.session(1))
	}
	if d := r.Report.Damages[0]; d.Session != id(1) || d.Sequence != hurt.Sequence || d.First != hurt.Index {
		t.Fatalf("damage %v", d)
	}
	r.balanced(balance(5, 0, 0, 1))
	if slices.Contains(r.indexes(), hurt.Index) || len(r.indexes()) != 4 {
		t.Fatalf("pending %v", r.indexes())
	}
	lost := h.crash() // and without the ledger it is torn, as far as anybody can tell
	flip(t, lost, 1, false, hurt.Index)
	loseLedger(t, lost)
	r = openDir(t, lost)
	if r.Report.Torn == nil || len(r.Report.Damages) != 0 || r.session(1).Last != hurt.Sequence-1 {
		t.Fatalf("without the ledger: report %+v", r.Report)
	}
}

// A released record in what is cut was never acknowledged: what it would have released is still there.
func TestReleasedRecordInATornTail(t *testing.T) {
	gate, entered := make(chan struct{}), make(chan struct{}, 100)
	o := small(memoryDir(t))
	o.Journal.OnCommit = func(*wal.Commit) { entered <- struct{}{}; <-gate }
	pass := func(n int) {
		for range n {
			<-entered
			gate <- struct{}{}
		}
	}
	open := make(chan struct{})
	go func() { // all pass until the gate is needed
		for {
			select {
			case gate <- struct{}{}:
			case <-open:
				close(open)
				return
			}
		}
	}()
	h := openWith(t, o)
	h.begin(1)
	h.settle(1, wal.Delivered, h.generation(1, 1)...)
	open <- struct{}{}
	<-open
	for len(entered) > 0 {
		<-entered
	}
	before := h.crash()
	// While the commit of a first write is held up, a second one and the release come into one batch behind it.
	p := h.Journal.NewProducer()
	n := h.Ledger.Balance().Accepted
	var last uint64
	for i := range uint64(2) {
		r := observation(1, n+1+i, 10)
		if err := p.Append(&r); err != nil {
			t.Fatal(err)
		}
		if last = r.Index; i == 0 {
			<-entered
		}
	}
	released := make(chan error, 1)
	go func() {
		released <- h.Journal.Release(t.Context(), 1, wal.Tally{Accepted: n - 1, Delivered: n - 1})
	}()
	for h.Journal.Stats().NextIndex != last+2 {
		runtime.Gosched()
	}
	gate <- struct{}{}
	pass(1)
	if err := <-released; err != nil {
		t.Fatal(err)
	}
	whole := segment(t, h.dir, 2)
	close(gate)
	overwrite(t, before, 2, func([]byte) []byte { return whole })
	flip(t, before, 2, true, last)
	r := openDir(t, before)
	if r.Report.Torn == nil || len(r.Report.Damages) != 0 || generationsOn(t, before)[0] != 1 {
		t.Fatalf("report %+v, generations %v", r.Report, generationsOn(t, before))
	}
	want := r.Ledger.Balance()
	r = r.reopen()
	if len(r.Report.Damages) != 0 {
		t.Fatalf("second start: %v", r.Report.Damages)
	}
	r.balanced(want)
}

// The first batch of a generation may be torn too, down to its head: then there never was such a generation.
func TestTornFirstBatch(t *testing.T) {
	h := openDir(t, memoryDir(t))
	h.begin(1)
	h.write(1, 1, 10)
	h = h.reopen()
	h.write(1, 2, 10)
	dir := h.crash()
	gens := h.Journal.Generations()
	number := gens[len(gens)-1].Number
	for name, hurt := range map[string]func([]byte) []byte{
		"cut in the head":          func(b []byte) []byte { return b[:40] },
		"cut behind the head":      func(b []byte) []byte { return b[:200] },
		"head damaged":             func(b []byte) []byte { b[20] ^= 1; return b },
		"head's payload damaged":   func(b []byte) []byte { b[90] ^= 1; return b },
		"nothing of it is a frame": func(b []byte) []byte { clear(b); return b },
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyDir(t, dir)
			overwrite(t, dir, number, hurt)
			r := openDir(t, dir)
			if r.Report.Torn == nil || len(r.Report.Damages) != 0 || r.session(1).Last != 1 {
				t.Fatalf("report %+v, session %+v", r.Report, r.session(1))
			}
			if len(quarantine(t, dir)) != 1 {
				t.Fatalf("quarantine %v", quarantine(t, dir))
			}
			if i := r.write(1, 2, 10); i == 0 || r.Ledger.Balance() != balance(2, 0, 0, 0) {
				t.Fatalf("write at %d, balance %+v", i, r.Ledger.Balance())
			}
			if gens := r.Journal.Generations(); gens[len(gens)-1].Number <= number {
				t.Fatalf("generations %+v: the number of the torn one is used again", gens)
			}
			r = r.reopen()
			if r.session(1).Last != 2 || len(r.Report.Damages) != 0 || r.Report.Torn != nil {
				t.Fatalf("second start: report %+v", r.Report)
			}
		})
	}
}
