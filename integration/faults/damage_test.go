package faults

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	"github.com/engram-sidecar/engram-sidecar/integration/smalldisk"
)

const damagedOf = 300 // observations in the directory that is damaged

// damage is what is done to the files of a stopped sidecar.
type damage struct {
	name    string
	harmful bool // acked data may be lost by it: then it is named and counted
	do      func(t *testing.T, random *rand.Rand, dir string)
}

var damages = []damage{
	{"a bit flipped in a segment", true, on("journal/g*/0*", flip)},
	{"a page of a segment zeroed", true, on("journal/g*/0*", zeroPage)},
	{"a segment cut short", true, on("journal/g*2/0*", cutShort)},
	{"a segment deleted", true, on("journal/g*2/0*", remove)},
	{"a segment in the place of another", true, func(t *testing.T, _ *rand.Rand, dir string) {
		segments := glob(t, dir, "journal/g*/0*")
		save(t, segments[1], load(t, segments[0]))
	}},
	{"zeros behind the newest", false, tail(func(_ *rand.Rand, b []byte) { clear(b) })},
	{"0xFF behind the newest", false, tail(func(_ *rand.Rand, b []byte) { copy(b, bytes.Repeat([]byte{0xff}, len(b))) })},
	{"noise behind the newest", false, tail(noise)},
	{"the ledger deleted", false, on("ledger.db", remove)},
	{"the ledger cut short", false, on("ledger.db", cutShort)},
	{"a page of the ledger zeroed", false, on("ledger.db", zeroPage)},
	{"a bit flipped in the ledger", false, on("ledger.db", flip)},
	{"the FORMAT file deleted", false, on("FORMAT", remove)},
}

// TestFaultDamage damages the files of a stopped sidecar in every way that a disk or a person has. The start succeeds,
// nothing is delivered that was not sent, what is lost is counted and named, and strict refuses and touches nothing.
// (T1, T3, T10, T11, T14, B1, B3, B4)
func TestFaultDamage(t *testing.T) {
	random := newRandom(t)
	dir := stopped(t)
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			for range sized(2, 40) {
				d.check(t, random, dir)
			}
		})
	}
}

// stopped makes the data directory: three hundred acked observations in several generations, none of them delivered.
func stopped(t *testing.T) string {
	t.Helper()
	disk := smalldisk.New(t, 2800<<10, 0) // generations of some 330 KiB
	sidecar := harness.NewSidecar(t, harness.Binary(t), "--store", "engram://"+harness.FreeAddress(t))
	sidecar.Dir = filepath.Join(disk, "data")
	sidecar.Start()
	say := newSpeaker(t, sidecar, harness.NewOracle())
	for range damagedOf {
		say.observe()
	}
	if code := sidecar.Stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	return sidecar.Dir
}

func (d *damage) check(t *testing.T, random *rand.Rand, from string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	d.do(t, random, dir)
	oracle := harness.NewOracle()
	for n := uint64(1); n <= damagedOf; n++ {
		of := harness.Observation{Session: "speaker", Sequence: n}
		oracle.Sent(of, harness.DigestOf(harness.EpisodeOf(of)))
	}
	store := harness.NewEngram(t, oracle)
	sidecar := harness.NewSidecar(t, harness.Binary(t), "--store", "engram://"+store.Address)
	sidecar.Dir = dir
	before := hashOf(t, dir)
	sidecar.Flags = append(sidecar.Flags, "--strict")
	strict := sidecar.TryStart()
	if !strict {
		if code := sidecar.ExitCode(); code != 74 {
			t.Errorf("strict: exit code %d, expected 74", code)
		}
		if hashOf(t, dir) != before {
			t.Error("strict refused the directory, and changed it")
		}
		sidecar.Flags = sidecar.Flags[:2]
		sidecar.Start()
	}
	d.judge(t, sidecar, oracle, strict)
	sidecar.Kill()
	store.Stop()
}

// judge holds what is reported against what has arrived.
func (d *damage) judge(t *testing.T, sidecar *harness.Sidecar, oracle *harness.Oracle, strict bool) {
	t.Helper()
	b := sidecar.Drained()
	status, err := sidecar.Status()
	if err != nil {
		t.Fatal(err)
	}
	verdict := oracle.Judge()
	for _, v := range verdict.Violations {
		if v.Invariant != harness.OrderKept { // what is missing leaves a gap
			t.Errorf("%s: %s", v.Invariant, v.Text)
		}
	}
	lost := uint64(damagedOf - verdict.Stored)
	if want := (harness.Balance{Accepted: damagedOf, Delivered: uint64(verdict.Stored), Damaged: lost}); b != want {
		t.Errorf("balance %+v, expected %+v", b, want)
	}
	switch named := len(status.Recovery.Damages); {
	case lost > 0 && (named == 0 || strict):
		t.Errorf("%d observations lost: %d damages named, strict start %v", lost, named, strict)
	case lost > 0 && !d.harmful:
		t.Errorf("%d observations lost by what harms none", lost)
	}
}

// hashOf is about every file of a directory, but for the lock, which names its holder.
func hashOf(t *testing.T, dir string) string {
	t.Helper()
	h := sha256.New()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Name() == "LOCK" {
			return err
		}
		_, _ = fmt.Fprintln(h, path, e.IsDir()) // a hash takes everything
		if !e.IsDir() {
			_, _ = h.Write(load(t, path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// on does something to one of the files, none of them empty, that match a pattern.
func on(pattern string, do func(t *testing.T, random *rand.Rand, path string)) func(*testing.T, *rand.Rand, string) {
	return func(t *testing.T, random *rand.Rand, dir string) {
		paths := glob(t, dir, pattern)
		do(t, random, paths[random.IntN(len(paths))])
	}
}

func glob(t *testing.T, dir, pattern string) (paths []string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		if st, err := os.Stat(path); err == nil && st.Size() > 0 {
			paths = append(paths, path)
		}
	}
	if len(paths) == 0 {
		t.Fatalf("nothing matches %s", pattern)
	}
	return paths
}

func tail(fill func(*rand.Rand, []byte)) func(*testing.T, *rand.Rand, string) {
	return func(t *testing.T, random *rand.Rand, dir string) {
		segments := glob(t, dir, "journal/g*/0*")
		newest := segments[len(segments)-1]
		foreign := make([]byte, 1+random.IntN(4096))
		fill(random, foreign)
		save(t, newest, append(load(t, newest), foreign...))
	}
}

func noise(random *rand.Rand, b []byte) {
	for i := range b {
		b[i] = byte(random.Uint32())
	}
}

func flip(t *testing.T, random *rand.Rand, path string) {
	b := load(t, path)
	b[random.IntN(len(b))] ^= 1 << random.IntN(8)
	save(t, path, b)
}

func zeroPage(t *testing.T, random *rand.Rand, path string) {
	b := load(t, path)
	at := random.IntN(len(b)) &^ 4095
	clear(b[at:min(at+4096, len(b))])
	save(t, path, b)
}

func cutShort(t *testing.T, random *rand.Rand, path string) {
	b := load(t, path)
	save(t, path, b[:random.IntN(len(b))])
}

func remove(t *testing.T, _ *rand.Rand, path string) {
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func save(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
