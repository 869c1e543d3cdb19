package wal

import (
	"errors"
	"math"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func TestAdmitKeepsClientsOutAndLetsTheJournalThrough(t *testing.T) {
	s := space{used: 900, quota: 1000, free: 5000, reserve: 4500}
	for _, c := range []struct {
		kind Kind
		size int64
		says string
	}{
		{KindWrite, 100, ""},
		{KindWrite, 101, "it uses 900 of 1000 bytes (journal-max-bytes)"},
		{KindSessionOpened, 101, "journal-max-bytes"},
		{KindSessionClosed, 400, ""},
		{KindReleased, 400, ""},
		{KindCarriedLetter, 4000, ""},
	} {
		err := s.admit(c.kind, c.size)
		if (err == nil) != (c.says == "") || (err != nil && (!errors.Is(err, ErrFull) || !strings.Contains(err.Error(), c.says))) {
			t.Errorf("%v of %d bytes: %v, want %q", c.kind, c.size, err, c.says)
		}
	}
	s.quota = 1 << 40
	if err := s.admit(KindWrite, 500); err != nil {
		t.Error(err)
	}
	if err := s.admit(KindWrite, 501); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "4500 are kept in reserve (journal-reserve-bytes)") {
		t.Error(err)
	}
}

func TestPressureIsBetweenEmptyAndFull(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(0, 1<<40)
		s := space{used: n.Draw(t, "used"), free: n.Draw(t, "free"), quota: n.Draw(t, "quota"), reserve: n.Draw(t, "reserve")}
		p := s.pressure()
		if p < 0 || p > 1 || math.IsNaN(p) {
			t.Fatalf("%+v: %v", s, p)
		}
		if full := s.used >= s.quota || s.free <= s.reserve; full != (p == 1) {
			t.Fatalf("%+v: %v, want it full: %v", s, p, full)
		}
		more := s
		more.appended(1 << 20)
		if more.pressure() < p {
			t.Fatalf("%+v: %v, and %v with more in it", s, p, more.pressure())
		}
	})
	if p := (&space{free: 1000, quota: 100}).pressure(); p != 0 {
		t.Errorf("an empty journal has pressure %v", p)
	}
	if p := (&space{used: 50, free: 1000, quota: 100}).pressure(); p != 0.5 {
		t.Errorf("half the quota is pressure %v", p)
	}
	if p := (&space{used: 50, free: 60, reserve: 10, quota: 1 << 40}).pressure(); p != 0.5 {
		t.Errorf("half of what the disk leaves is pressure %v", p)
	}
}

func TestQuotaAndReserveComeFromTheDisk(t *testing.T) {
	dir := t.TempDir()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	total := int64(st.Blocks) * st.Bsize
	s := open(t, Config{Dir: dir}).Stats()
	if want := min(max(16<<20, total/50), total/4); s.Reserve != want {
		t.Errorf("reserve %d, want %d of a disk of %d", s.Reserve, want, total)
	}
	if s.Quota <= 0 || s.Quota > 10<<30 || s.Quota > (s.Free+s.Bytes)/2+1<<30 {
		t.Errorf("%+v", s)
	}
	s = open(t, Config{MaxBytes: 1 << 20, ReserveBytes: 123}).Stats()
	if s.Quota != 1<<20 || s.Reserve != 123 {
		t.Errorf("%+v", s)
	}
}

// A quota is crossed: refusal of that record alone, nothing else happens, and after a release it goes on. The smaller the
// quota, the smaller the generations: else the last one could hold it all and never be given back.
func TestQuotaRefusesAndGoesOnAfterARelease(t *testing.T) {
	for _, quota := range []int64{minGenerationBytes, 256 << 10, 1 << 20} {
		j := open(t, Config{MaxBytes: quota, ReserveBytes: 1})
		p := j.NewProducer()
		sequence := uint64(0)
		for range 3 {
			refused := false
			for !refused {
				r := write(1, sequence+1, fill(sequence, 3000))
				switch err := p.Append(&r); {
				case err == nil:
					sequence++
					if _, err := p.Wait(t.Context(), r.Index); err != nil {
						t.Fatal(err)
					}
				case errors.Is(err, ErrFull) && !errors.Is(err, ErrRefused):
					refused = true
				default:
					t.Fatal(err)
				}
			}
			if st := j.Stats(); st.Bytes > quota || st.Bytes < quota-4000 || st.Pressure < 0.9 || st.Err != nil || p.Err() != nil {
				t.Fatalf("quota %d: %+v, %v", quota, st, p.Err())
			}
			g := j.Generations()[0]
			if err := j.Release(t.Context(), g.Number, delivered(g)); err != nil {
				t.Fatalf("quota %d: full, and nothing can be given back: %v", quota, err)
			}
		}
		if sequence < 10 {
			t.Errorf("quota %d: %d records", quota, sequence)
		}
	}
}

func TestMeasureCountsWhatTheDiskDoesNotKnowOf(t *testing.T) {
	at := fresh()
	j, err := newJournal(Config{Dir: t.TempDir()}.withDefaults(), &at) // whose goroutines do not run
	if err != nil || j.space.free <= 0 {
		t.Fatal(err, j.space)
	}
	j.filling.bytes = 1 << 50
	if err := j.measure(); err != nil || j.space.free >= 0 {
		t.Errorf("%d free with %d gathered: %v", j.space.free, j.filling.bytes, err)
	}
	j.filling.bytes, j.writing = 0, 1<<50
	if err := j.measure(); err != nil || j.space.free >= 0 {
		t.Errorf("%d free with %d being written: %v", j.space.free, j.writing, err)
	}
	j.cfg.Dir += "/gone"
	if err := j.measure(); !errors.Is(err, unix.ENOENT) {
		t.Error(err)
	}
}
