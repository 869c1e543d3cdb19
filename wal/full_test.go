package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/engram-sidecar/engram-sidecar/integration/smalldisk"
)

// flood makes records durable until the disk refuses. They are of a kind that the reserve does not keep out, so that the
// refusal is the disk's own. It returns those that were acked.
func flood(t *testing.T, j *Journal, s byte, size int) []Record {
	p := j.NewProducer()
	var acked []Record
	for n := uint64(1); ; n++ {
		r := write(s, n, fill(n, size))
		r.Kind = KindCarriedLetter
		err := p.Append(&r)
		if err == nil {
			_, err = p.Wait(t.Context(), r.Index)
		}
		if err == nil {
			acked = append(acked, r)
			continue
		}
		if !errors.Is(err, ErrFull) {
			t.Error(err)
		}
		return acked
	}
}

// A disk that is truly full: refused and rolled back to the last synced byte, nothing acked is lost, and the same process
// goes on when there is room, without a hole in the indexes.
func TestFullDisk(t *testing.T) {
	for _, size := range []int{700, 3000, 70_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			dir := smalldisk.New(t, 1<<20, 1000)
			ballast := filepath.Join(dir, "ballast")
			if err := os.WriteFile(ballast, make([]byte, 200<<10), 0o600); err != nil {
				t.Fatal(err)
			}
			j := open(t, Config{Dir: dir, GenerationBytes: minGenerationBytes, MaxBytes: 1 << 30, ReserveBytes: 1})
			var mu sync.Mutex
			acked := map[uint64]Record{}
			var wg sync.WaitGroup
			for s := range byte(3) {
				wg.Go(func() {
					for _, r := range flood(t, j, s, size) {
						mu.Lock()
						acked[r.Index] = r
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the journal takes records again", func() bool {
				r := write(9, 1, nil)
				_, err := j.Write(t.Context(), &r)
				if err == nil {
					acked[r.Index] = r
				} else if !errors.Is(err, ErrFull) {
					t.Fatal(err)
				}
				return err == nil
			})
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			checkKept(t, dir, acked)
		})
	}
}

// checkKept wants every acked record on disk as it was, no hole in the indexes and nothing behind the last frames.
func checkKept(t *testing.T, dir string, acked map[uint64]Record) {
	t.Helper()
	if len(acked) < 5 {
		t.Errorf("only %d records were acked", len(acked))
	}
	f := recoverDir(t, dir)
	for i, r := range f.records {
		if want, ok := acked[r.Index]; r.Index != uint64(i+1) || (ok && !sameRecord(r, want)) {
			t.Fatalf("place %d holds %+v, want %+v", i, r, want)
		}
		if _, ok := acked[r.Index]; !ok && r.Kind != KindHead {
			t.Errorf("index %d was refused and is on disk", r.Index)
		}
		delete(acked, r.Index)
	}
	if len(acked) != 0 {
		t.Errorf("%d acked records are lost", len(acked))
	}
	for _, s := range f.at.Generations {
		if s.End != s.Size {
			t.Errorf("generation %d has %d bytes behind its last frame", s.Number, s.Size-s.End)
		}
	}
}

// Somebody else fills the disk to the last byte, reserve and all. What gives space back still gets through.
func TestReleaseOnADiskWithoutAByte(t *testing.T) {
	dir := smalldisk.New(t, 4<<20, 1000)
	j := filled(t, Config{Dir: dir, MaxBytes: 1 << 30, ReserveBytes: 64 << 10})
	gens := j.Generations()
	next := SegmentPath(dir, gens[len(gens)-1].Number+1)
	eventually(t, "the next generation has its room", func() bool {
		var st unix.Stat_t
		return unix.Stat(next, &st) == nil && st.Blocks*512 >= minGenerationBytes/4
	})
	smalldisk.Fill(t, filepath.Join(dir, "ballast"))
	eventually(t, "the journal sees that the disk is full", func() bool { return j.Stats().Free == 0 && j.Pressure() == 1 })
	r := write(1, 81, fill(81, 3000))
	if _, err := j.Write(t.Context(), &r); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	flood(t, j, 2, 200) // into the last byte that any of its pages has left
	g := gens[0]
	eventually(t, "a released frame finds room", func() bool {
		err := j.Release(t.Context(), g.Number, delivered(g))
		if err != nil && !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
		return err == nil
	})
	eventually(t, "observations go on", func() bool {
		r := write(1, 81, fill(81, 100))
		_, err := j.Write(t.Context(), &r)
		return err == nil
	})
}

// The next generation was made while the disk was full. It gets its room as soon as there is some, not when it is needed.
func TestOwnRoomIsAllocatedLater(t *testing.T) {
	dir := smalldisk.New(t, 4<<20, 1000)
	ballast := filepath.Join(dir, "ballast")
	smalldisk.Fill(t, ballast)
	open(t, Config{Dir: dir, GenerationBytes: minGenerationBytes, MaxBytes: 1 << 30, ReserveBytes: 1})
	allocated := func() bool {
		var st unix.Stat_t
		return unix.Stat(SegmentPath(dir, 2), &st) == nil && st.Blocks > 0
	}
	eventually(t, "the next generation is there", func() bool { return len(generationsOn(t, dir)) == 2 })
	if allocated() {
		t.Error("there was no room to allocate")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the next generation gets its room", allocated)
}

// No inode is left for another generation: the journal opens, says that it is full, lets everything be read, and goes on
// when there is one.
func TestOpenAndRotateWithoutAnInode(t *testing.T) {
	dir := smalldisk.New(t, 16<<20, 30)
	cfg := Config{Dir: dir, GenerationBytes: minGenerationBytes, MaxBytes: 1 << 30, ReserveBytes: 1}
	j := open(t, cfg)
	kept := []Record{put(t, j, 1, 1, 100)}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	at := recoverDir(t, dir).at
	inodes := takeInodes(t, dir)
	j = openAt(t, cfg, at)
	r := write(1, 2, nil)
	if _, err := j.Write(t.Context(), &r); !errors.Is(err, ErrFull) || !errors.Is(j.Stats().Err, ErrFull) || j.Pressure() != 1 || j.Stats().Pressure != 1 {
		t.Errorf("%v, %+v", err, j.Stats())
	}
	checkRead(t, j, []uint64{kept[0].Index}, kept)
	give(t, inodes[:4])
	eventually(t, "the journal takes records again", func() bool { return j.Err() == nil })

	inodes = append(inodes[4:], takeInodes(t, dir)...)
	for n := uint64(2); ; n++ { // until the generation that was ready is full too
		r := write(1, n, fill(n, 3000))
		if _, err := j.Write(t.Context(), &r); err != nil {
			if !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			break
		}
		kept = append(kept, r)
	}
	give(t, inodes)
	eventually(t, "the journal takes records again", func() bool { return j.Err() == nil })
	kept = append(kept, put(t, j, 1, uint64(len(kept)+1), 100))
	var indexes []uint64
	for _, r := range kept {
		indexes = append(indexes, r.Index)
	}
	checkRead(t, j, indexes, kept)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	give(t, nil)
	f := recoverDir(t, dir)
	if last := f.records[len(f.records)-1].Index; last != uint64(len(f.records)) || f.at.Accepted != uint64(len(kept)) {
		t.Errorf("%d records up to index %d, accepted %d, want %d", len(f.records), last, f.at.Accepted, len(kept))
	}
}

// takeInodes makes files until there is no inode left.
func takeInodes(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	for {
		f, err := os.CreateTemp(dir, "inode")
		if errors.Is(err, unix.ENOSPC) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, f.Name())
		f.Close()
	}
}

func give(t *testing.T, names []string) {
	t.Helper()
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// Closing a journal that never found room to begin ends at once.
func TestCloseOfAJournalThatNeverBegan(t *testing.T) {
	dir := smalldisk.New(t, 1<<20, 20)
	takeInodes(t, dir)
	j := open(t, Config{Dir: dir})
	if !errors.Is(j.Err(), ErrFull) {
		t.Error(j.Err())
	}
	if err := j.Close(); err != nil || !errors.Is(j.Err(), ErrClosed) {
		t.Error(err, j.Err())
	}
}
