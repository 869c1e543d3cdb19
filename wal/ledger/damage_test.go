package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// loadInChildEnv names a data directory; the test binary loads its ledger then, says what it found, and ends.
const loadInChildEnv = "LEDGER_TEST_LOAD"

func loadInChild(dir string) int {
	b, err := Load(dir, testJournal, nil)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("lost:", b.Lost())
	return 0
}

// filled is a ledger's file with enough in it for several pages, closed, and what it holds.
func filled(t *testing.T) (d *desk, content []byte, want *known) {
	t.Helper()
	d = newDesk(t)
	for n := range byte(60) {
		d.commit(opened(n + 1))
	}
	for range 5 {
		at := d.commit(observations(1, 300)...)
		for i, at := range at {
			switch i % 30 {
			case 0:
				d.bury(at, observed(1, uint64(i+1)))
			case 1:
			default:
				d.Settle(at, id(1), wal.Delivered)
			}
		}
		d.generation()
	}
	d.flush()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(d.path())
	if err != nil {
		t.Fatal(err)
	}
	want, err = readDisk(d.path(), testJournal)
	if err != nil {
		t.Fatal(err)
	}
	return d, content, want
}

func (d *desk) put(content []byte) {
	d.t.Helper()
	if err := os.WriteFile(d.path(), content, 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// damaged says whether a changed file is found damaged. Where it is not, it must hold what it held.
func (d *desk) damaged(want *known, how string) bool {
	d.t.Helper()
	got, err := readDisk(d.path(), testJournal)
	switch {
	case err == nil && !reflect.DeepEqual(got, want):
		d.t.Fatalf("%s: the file holds something else, and nobody noticed", how)
	case err != nil && !errors.Is(err, ErrDamaged):
		d.t.Fatalf("%s: %v", how, err)
	}
	return err != nil
}

func TestFileCutAnywhere(t *testing.T) {
	d, content, want := filled(t)
	for size := 0; size < len(content); size += 512 {
		d.put(content[:size])
		if !d.damaged(want, fmt.Sprint("cut at ", size)) && size < len(content)/4 {
			t.Errorf("cut at %d of %d: not noticed", size, len(content))
		}
	}
}

func TestPagesZeroed(t *testing.T) {
	d, content, want := filled(t)
	page, n := os.Getpagesize(), 0
	for at := 0; at < len(content); at += page {
		b := append([]byte(nil), content...)
		clear(b[at : at+page])
		d.put(b)
		if d.damaged(want, fmt.Sprint("zeros at ", at)) {
			n++
		}
	}
	if n < 3 {
		t.Fatalf("%d pages matter: nothing is tested", n)
	}
}

func TestBytesFlipped(t *testing.T) {
	d, content, want := filled(t)
	step, n := 97, 0
	if os.Getenv("NIGHTLY") != "" {
		step = 3
	}
	for at := 0; at < len(content); at += step {
		for _, bit := range []byte{1, 0x80} {
			b := append([]byte(nil), content...)
			b[at] ^= bit
			d.put(b)
			if d.damaged(want, fmt.Sprintf("bit %x of byte %d", bit, at)) {
				n++
			}
		}
	}
	t.Logf("%d of %d flips found", n, 2*len(content)/step)
}

// Whatever stands in the file: it is read, or found damaged.
func TestAnythingInTheFile(t *testing.T) {
	d, content, want := filled(t)
	rapid.Check(t, func(rt *rapid.T) {
		b := bytes.Clone(content)
		for range rapid.IntRange(1, 8).Draw(rt, "places") {
			at := rapid.IntRange(0, len(b)-1).Draw(rt, "at")
			if rapid.Bool().Draw(rt, "in the beginning of a page") {
				at = at&^4095 + at%200
			}
			copy(b[min(at, len(b)-1):], rapid.SliceOfN(rapid.Byte(), 1, 9).Draw(rt, "bytes"))
		}
		if from := rapid.IntRange(0, 2*len(b)).Draw(rt, "page") &^ 4095; from < len(b) { // another page in the place of one
			to := rapid.IntRange(0, len(b)-1).Draw(rt, "to") &^ 4095
			copy(b[to:min(to+4096, len(b))], content[from:])
		}
		d.put(b)
		d.damaged(want, "several changes")
	})
}

// A page that is in use and in the free list would be written over by the next flush.
func TestFreePageInUse(t *testing.T) {
	d, content, want := filled(t)
	m, err := readMeta(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	list := content[m.free*m.size:]
	if binary.LittleEndian.Uint16(list[10:]) == 0 {
		t.Fatal("the free list is empty: nothing is tested")
	}
	binary.LittleEndian.PutUint64(list[pageHeader:], m.root)
	d.put(content)
	if !d.damaged(want, "the root is free") {
		t.Fatal("not noticed")
	}
}

// Faults that would end a process are none of them: the same in a process of its own.
func TestDamagedFileInAnotherProcess(t *testing.T) {
	d, content, _ := filled(t)
	for _, size := range []int{0, 1, 4096, 8192 + 512, 16384 - 512, len(content) / 2} {
		d.put(content[:size])
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), loadInChildEnv+"="+d.dir)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "ledger damaged") {
			t.Errorf("cut at %d: %v: %s", size, err, out)
		}
	}
}
