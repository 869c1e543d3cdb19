package wal

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// No room in the middle of a write: what was written of the batch is taken back to the last synced byte, it is refused with
// all behind it, and the same process goes on elsewhere, without a hole in the indexes.
func TestNoRoomIsRefusedAndGoesOn(t *testing.T) {
	dir := t.TempDir()
	j := open(t, Config{Dir: dir})
	p := j.NewProducer()
	good := put(t, j, 1, 1, 100)
	size := len(readSegmentFile(t, dir, 1))
	replaceDescriptors(t, j, "/dev/full", unix.O_RDWR, false)
	a, b := write(1, 2, fill(2, 100)), write(1, 3, fill(3, 100))
	if err := p.Append(&a); err != nil {
		t.Fatal(err)
	}
	_, err := p.Wait(t.Context(), a.Index)
	if !errors.Is(err, ErrFull) || errors.Is(err, ErrFailed) || !errors.Is(p.Err(), ErrFull) {
		t.Fatal(err)
	}
	if err := p.Append(&b); !errors.Is(err, ErrRefused) || !errors.Is(err, ErrFull) {
		t.Errorf("before its roll-back the producer gets %v", err)
	}
	eventually(t, "the journal takes records again", func() bool { return j.Err() == nil })
	if err := p.Append(&b); !errors.Is(err, ErrRefused) {
		t.Errorf("before its roll-back the producer gets %v", err)
	}
	p.Reset()
	if err := p.Append(&a); err != nil || p.Err() != nil {
		t.Fatal(err, p.Err())
	}
	if _, err := p.Wait(t.Context(), a.Index); err != nil {
		t.Fatal(err)
	}
	if got := len(readSegmentFile(t, dir, 1)); got != size {
		t.Errorf("the abandoned segment has %d bytes, want the %d that were synced", got, size)
	}
	if accepted, _ := j.Totals(); accepted != 2 {
		t.Errorf("accepted %d, want 2", accepted)
	}
	used := int64(0)
	for _, g := range j.Generations() {
		used += g.Bytes
	}
	if st := j.Stats(); st.Bytes != used {
		t.Errorf("it says to use %d bytes and uses %d", st.Bytes, used)
	}
	checkRead(t, j, []uint64{good.Index, a.Index}, []Record{good, a})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	checkContiguous(t, dir, 4) // two heads, two writes
}

// checkContiguous wants n records in dir, with indexes from 1 on and no damage.
func checkContiguous(t *testing.T, dir string, n int) {
	t.Helper()
	f := recoverDir(t, dir)
	for i, r := range f.records {
		if r.Index != uint64(i+1) {
			t.Fatalf("index %d in place %d", r.Index, i+1)
		}
	}
	if len(f.records) != n || f.at.Index != uint64(n+1) {
		t.Errorf("%d records, next index %d, want %d", len(f.records), f.at.Index, n)
	}
}

// A released frame that found no room was never there: its generation stays, and can be released later.
func TestReleaseThatFoundNoRoom(t *testing.T) {
	dir := t.TempDir()
	j := filled(t, Config{Dir: dir})
	g := j.Generations()[0]
	replaceDescriptors(t, j, "/dev/full", unix.O_RDWR, false)
	if err := j.Release(t.Context(), g.Number, delivered(g)); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	if _, released := j.Totals(); released != (Tally{}) {
		t.Errorf("%+v", released)
	}
	eventually(t, "the journal takes records again", func() bool { return j.Err() == nil })
	if err := j.Release(t.Context(), g.Number, delivered(g)); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if f := recoverDir(t, dir); f.at.Released != delivered(g) || f.at.Accepted != 80 {
		t.Errorf("%+v", f.at)
	}
}

// Close while the journal waits for room ends at once, and what was refused stays refused.
func TestCloseWhileThereIsNoRoom(t *testing.T) {
	j := open(t, Config{})
	put(t, j, 1, 1, 10)
	replaceDescriptors(t, j, "/dev/full", unix.O_RDWR, false)
	p := j.NewProducer()
	r := write(1, 2, nil)
	if err := p.Append(&r); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(t.Context(), r.Index); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	if _, err := j.Write(t.Context(), &Record{Kind: KindWrite}); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// The file size limit fails a write in the middle: a part of the batch is in the file, and must not stay there.
//
// It runs in a process of its own: under the limit the go command's own log of a test's files would fail as well.
func TestFileSizeLimitCutsAWriteShort(t *testing.T) {
	const child = "WAL_TEST_FILE_SIZE_LIMIT"
	if os.Getenv(child) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	dir := t.TempDir()
	j := open(t, Config{Dir: dir})
	put(t, j, 1, 1, 2000)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	for _, limit := range []uint64{2200, 3000, 4096, 5001} {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: limit, Max: old.Max}); err != nil {
			t.Fatal(err)
		}
		r := write(1, 2, fill(2, 6000))
		_, err := j.Write(t.Context(), &r)
		eventually(t, "the journal takes records again", func() bool { return j.Err() == nil })
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
			t.Fatal(err)
		}
		if !errors.Is(err, ErrFull) || !errors.Is(err, unix.EFBIG) {
			t.Errorf("limit %d: %v", limit, err)
		}
		put(t, j, 1, 2, 10)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	checkContiguous(t, dir, 2+4*2)
	for _, n := range generationsOn(t, dir) {
		if s, _ := scanDir(t, dir, n); s.End != s.Size {
			t.Errorf("generation %d has %d bytes behind its last frame", n, s.Size-s.End)
		}
	}
}

func TestWhatCountsAsNoRoom(t *testing.T) {
	for err, want := range map[error]bool{
		unix.ENOSPC: true, unix.EDQUOT: true, unix.EFBIG: true, unix.EMFILE: true, unix.ENFILE: true,
		unix.EIO: false, unix.EROFS: false, unix.EBADF: false, os.ErrClosed: false,
		&os.PathError{Op: "write", Path: "f", Err: unix.ENOSPC}: true,
		fmt.Errorf("%w: %w", errSync, unix.ENOSPC):              false, // the pages may be lost
	} {
		if got := isNoRoom(err); got != want {
			t.Errorf("isNoRoom(%v) = %v", err, got)
		}
	}
}
