package faults

import (
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/integration/faults/faultfs"
)

// strict is a disk that keeps what was synced, and of the rest what the test says.
type strict struct {
	t    testing.TB
	at   string
	room faultfs.Room
	fs   *faultfs.FS
}

// The sizes that a disk may claim. The journal's quota is half of what is free, and a generation a quarter of that.
var (
	large = faultfs.Room{Total: 8 << 30, Free: 4 << 30}   // generations of 4 MiB
	small = faultfs.Room{Total: 4 << 20, Free: 3 << 20}   // generations of 384 KiB, some hundred observations
	tiny  = faultfs.Room{Total: 1 << 20, Free: 768 << 10} // generations of 96 KiB, some thirty observations
)

// newStrict mounts an empty one that is given back at the end of the test.
func newStrict(t testing.TB, room faultfs.Room) *strict {
	t.Helper()
	needs(t, "root", "fuse")
	s := &strict{t: t, at: t.TempDir(), room: room}
	s.mount(nil)
	t.Cleanup(func() {
		if err := s.fs.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *strict) dir() string { return filepath.Join(s.at, "data") }

func (s *strict) mount(img *faultfs.Image) {
	s.t.Helper()
	var err error
	if s.fs, err = faultfs.Mount(s.at, img, s.room); err != nil {
		s.t.Fatal(err)
	}
}

// restore puts img in the place of what is there, as the next boot finds it. Nobody may use the file system.
func (s *strict) restore(img *faultfs.Image) {
	s.t.Helper()
	if err := s.fs.Unmount(); err != nil {
		s.t.Fatal(err)
	}
	s.mount(img)
}

// chance keeps so many of a hundred unsynced blocks and names.
func chance(random *rand.Rand, percent int) func() bool {
	return func() bool { return random.IntN(100) < percent }
}
