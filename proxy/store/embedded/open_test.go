package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/proxy/store/storetest"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

func TestValidate(t *testing.T) {
	for _, row := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, ""},
		{Config{Workers: 3, SegmentRows: 1024}, ""},
		{Config{Workers: -1}, "embedded-recall-workers: expected 0 (one for each processor) to 256, got -1"},
		{Config{Workers: 257}, "got 257"},
		{Config{SegmentRows: 1000}, "embedded-segment-rows: expected 0 (65536) or a power of two from 8 to 1048576, got 1000"},
		{Config{SegmentRows: 4}, "got 4"},
		{Config{SegmentRows: 1 << 21}, "got 2097152"},
		{Config{SegmentRows: -8}, "got -8"},
	} {
		err := row.cfg.Validate()
		if (err == nil) != (row.want == "") || (err != nil && !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%+v: expected %q, got %v", row.cfg, row.want, err)
		}
	}
	if _, err := Open(t.TempDir(), Config{Workers: -1}); err == nil {
		t.Error("Open takes what Validate refuses")
	}
}

// TestOpenRefuses leaves the directory as it is: one of a newer version, and one whose FORMAT nobody can read while no segment
// tells what stood in it.
func TestOpenRefuses(t *testing.T) {
	for _, row := range []struct {
		name, format, want string
		rows               int
		is                 error
	}{
		{"newer", "engram-sidecar embedded store\nversion 2\nshards 7\n", "version 2, this program knows 1", 5, wal.ErrNewerFormat},
		{"empty", "", "restore the file, or remove it", 0, errFormat},
		{"foreign", "hello", `got "hello"`, 0, errFormat},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			fullStore(t, dir, row.rows)
			change(t, filepath.Join(dir, formatName), func([]byte) []byte { return []byte(row.format) })
			before := listing(t, dir)
			_, err := Open(dir, Config{})
			if err == nil || !strings.Contains(err.Error(), row.want) || !errors.Is(err, row.is) {
				t.Errorf("expected %q, got %v", row.want, err)
			}
			if after := listing(t, dir); after != before {
				t.Errorf("the directory was touched:\n%s\n%s", before, after)
			}
		})
	}
}

// TestDamagedFormat is written anew from what the segments say.
func TestDamagedFormat(t *testing.T) {
	for name, format := range map[string]string{
		"empty": "", "zeros": strings.Repeat("\x00", 70), "foreign": "hello",
		"other dimensions": "engram-sidecar embedded store\nversion 1\ndimensions 512\nsegment-rows 16\n",
		"odd rows":         "engram-sidecar embedded store\nversion 1\ndimensions 768\nsegment-rows 17\n",
		"no rows":          "engram-sidecar embedded store\nversion 1\ndimensions 768\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			fullStore(t, dir, 40)
			path := filepath.Join(dir, formatName)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			change(t, path, func([]byte) []byte { return []byte(format) })
			wantTulips(t, open(t, dir, Config{}), 1, 40)
			if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
				t.Errorf("FORMAT is %q, %v; expected %q", after, err, before)
			}
		})
	}
}

// listing returns names and contents.
func listing(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range entries {
		if e.Name() == "LOCK" {
			continue
		}
		fmt.Fprintf(&b, "%s %08x\n", e.Name(), checksum(contentOf(filepath.Join(dir, e.Name()))))
	}
	return b.String()
}

func TestLocked(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Config{})
	if _, err := Open(dir, Config{}); !errors.Is(err, wal.ErrLocked) {
		t.Errorf("expected %v, got %v", wal.ErrLocked, err)
	}
	mustPut(t, s, tulips(1, 3)...)
	wantTulips(t, s, 1, 3)
}

func TestOpenWhereItCannot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(file, "store"), Config{}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("expected an error with the path in it, got %v", err)
	}
	dir := filepath.Join(t.TempDir(), "store")
	fullStore(t, dir, 2)
	path := segmentPath(dir, vectorsPrefix, 0)
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Config{}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("expected an error with the path in it, got %v", err)
	}
}

// TestLayoutStays keeps what the directory was made with, whatever the configuration says later.
func TestLayoutStays(t *testing.T) {
	dir := t.TempDir()
	fullStore(t, dir, 20)
	s := open(t, dir, Config{SegmentRows: 1024})
	mustPut(t, s, tulips(21, 20)...)
	wantTulips(t, s, 1, 40)
	if n := s.Stats().Segments; n != 3 {
		t.Errorf("%d segments, expected 3", n)
	}
}

// TestNothingReadable loses FORMAT where no segment can stand in for it.
func TestNothingReadable(t *testing.T) {
	dir := t.TempDir()
	fullStore(t, dir, 3)
	if err := os.Remove(filepath.Join(dir, formatName)); err != nil {
		t.Fatal(err)
	}
	for _, prefix := range []string{vectorsPrefix, bodiesPrefix} {
		change(t, segmentPath(dir, prefix, 0), func(b []byte) []byte { b[9] ^= 1; return b })
	}
	if _, err := Open(dir, Config{}); err == nil || !strings.Contains(err.Error(), "restore it, or move the directory away") {
		t.Errorf("expected a refusal, got %v", err)
	}
}

// TestSetAside keeps a segment without a readable row when there is no index to say that it never had one.
func TestSetAside(t *testing.T) {
	dir := t.TempDir()
	fullStore(t, dir, 20)
	path := segmentPath(dir, bodiesPrefix, 1)
	change(t, path, func(b []byte) []byte { clear(b); return b })
	if err := os.Remove(filepath.Join(dir, indexName)); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, Config{})
	wantTulips(t, s, 1, 16)
	for _, prefix := range []string{vectorsPrefix, bodiesPrefix} {
		if size(t, segmentPath(dir, prefix, 1)+asideSuffix) <= headerBytes {
			t.Errorf("%s was not set aside", prefix)
		}
	}
	mustPut(t, s, tulips(1, 20)...)
	wantTulips(t, s, 1, 20)
}

func TestClosed(t *testing.T) {
	s := open(t, t.TempDir(), Config{})
	mustPut(t, s, tulips(1, 1)...)
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), tulips(2, 1))[0]; !errors.Is(err, ErrClosed) || store.ClassOf(err) != store.ClassUnavailable {
		t.Errorf("Put: %v", err)
	}
	_, err := s.Recall(t.Context(), store.Query{Space: garden, Vector: storetest.Vector(1), K: 1})
	if !errors.Is(err, ErrClosed) || store.ClassOf(err) != store.ClassUnavailable {
		t.Errorf("Recall: %v", err)
	}
}

func TestCounts(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		s := open(t, dir, small())
		if s.Count("orchard") == 0 {
			if got := s.Spaces(); len(got) != 0 {
				t.Errorf("an empty store has spaces %v", got)
			}
		}
		mustPut(t, s, tulips(1, 20)...)
		mustPut(t, s, tulip(3, 100), tulip(4, 101))
		mustPut(t, s, storetest.Record(wal.FormEpisode, 200, "orchard", "apple", "", storetest.Vector(1)))
		if got := strings.Join(s.Spaces(), " "); got != "garden orchard" {
			t.Errorf("spaces %q", got)
		}
		if s.Count(garden) != 20 || s.Count("orchard") != 1 || s.Count("meadow") != 0 {
			t.Errorf("counts %d, %d, %d", s.Count(garden), s.Count("orchard"), s.Count("meadow"))
		}
		if st := s.Stats(); st.Rows != 23 || st.Live != 21 || st.Damaged != 0 || st.Segments != 2 {
			t.Errorf("%+v", st)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
