package faultfs

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// mount mounts img for the length of a test, and skips it where that cannot be.
func mount(t *testing.T, img *Image) (*FS, string) {
	t.Helper()
	dir := t.TempDir()
	f, err := Mount(dir, img, Room{8 << 30, 4 << 30})
	if err != nil {
		if os.Getenv("REQUIRE_FAULTS") == "1" {
			t.Fatal(err)
		}
		t.Skipf("FUSE: %v", err)
	}
	t.Cleanup(func() {
		if err := f.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return f, dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string, sync bool) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	must(t, err)
	_, err = f.WriteString(text)
	must(t, err)
	if sync {
		must(t, f.Sync())
	}
	must(t, f.Close())
}

func syncDir(t *testing.T, dir string) {
	t.Helper()
	d, err := os.Open(dir)
	must(t, err)
	must(t, errors.Join(d.Sync(), d.Close()))
}

func TestNamesAndBytesNeedTheirFsync(t *testing.T) {
	f, dir := mount(t, nil)
	must(t, os.Mkdir(dir+"/d", 0o700))
	write(t, dir+"/d/both", "bytes and name", true)
	write(t, dir+"/d/name", "name only", false)
	syncDir(t, dir+"/d")
	write(t, dir+"/d/bytes", "bytes only", true)
	if img := f.Image(Nothing); len(img.Kids) != 0 {
		t.Errorf("the root holds %v: expected nothing, its names were not synced", img.Kids)
	}
	syncDir(t, dir)
	write(t, dir+"/d/both", ", and more", false)
	d := f.Image(Nothing).Kids["d"].Kids
	if string(d["both"].Data) != "bytes and name" || len(d["name"].Data) != 0 || d["bytes"] != nil {
		t.Errorf("after the cut d holds %+v", d)
	}
	all := f.Image(func() bool { return true }).Kids["d"].Kids
	if string(all["both"].Data) != "bytes and name, and more" || string(all["name"].Data) != "name only" || string(all["bytes"].Data) != "bytes only" {
		t.Errorf("with all that is unsynced kept, d holds %+v", all)
	}
}

func TestRemovalAndRenameNeedTheirFsync(t *testing.T) {
	f, dir := mount(t, &Image{Kids: map[string]*Image{
		"d": {Kids: map[string]*Image{"old": {Data: []byte("old")}, "gone": {Data: []byte("gone")}}},
	}})
	write(t, dir+"/d/tmp", "new", true)
	must(t, os.Rename(dir+"/d/tmp", dir+"/d/old"))
	must(t, os.Remove(dir+"/d/gone"))
	if d := f.Image(Nothing).Kids["d"].Kids; string(d["old"].Data) != "old" || d["gone"] == nil || len(d) != 2 {
		t.Errorf("before the fsync: %+v", d)
	}
	syncDir(t, dir+"/d")
	if d := f.Image(Nothing).Kids["d"].Kids; string(d["old"].Data) != "new" || len(d) != 1 {
		t.Errorf("after the fsync: %+v", d)
	}
	to := t.TempDir()
	must(t, f.Image(Nothing).WriteTo(to))
	if b, err := os.ReadFile(filepath.Join(to, "d", "old")); string(b) != "new" {
		t.Errorf("written out: %q, %v", b, err)
	}
}

func TestFailedFsyncForgetsWhatWasDirty(t *testing.T) {
	f, dir := mount(t, nil)
	file, err := os.Create(dir + "/f")
	must(t, err)
	defer func() { must(t, file.Close()) }()
	first := bytes.Repeat([]byte("a"), page)
	_, err = file.Write(first)
	must(t, err)
	syncDir(t, dir)
	f.SetRule(func(op Op, path string) syscall.Errno {
		if op == Fsync && path == "f" {
			return unix.EIO
		}
		return 0
	})
	if err := file.Sync(); !errors.Is(err, unix.EIO) {
		t.Fatalf("fsync: %v, expected EIO", err)
	}
	f.SetRule(nil)
	_, err = file.Write([]byte("b"))
	must(t, err)
	must(t, file.Sync())
	got := f.Image(Nothing).Kids["f"].Data
	if len(got) != page+1 || bytes.Contains(got, []byte("a")) || got[page] != 'b' {
		t.Errorf("the disk holds %d bytes beginning with %q and ending with %q: expected zeros, and b", len(got), got[:1], got[page:])
	}
	if b, err := os.ReadFile(dir + "/f"); !bytes.Equal(b, append(first, 'b')) {
		t.Errorf("the page cache has lost bytes: %d read, %v", len(b), err)
	}
}

func TestTruncateIsUnsyncedToo(t *testing.T) {
	f, dir := mount(t, &Image{Kids: map[string]*Image{"f": {Data: []byte("0123456789")}}})
	must(t, os.Truncate(dir+"/f", 4))
	if got := string(f.Image(Nothing).Kids["f"].Data); got != "0123456789" {
		t.Errorf("the disk holds %q before the fsync", got)
	}
	write(t, dir+"/f", "x", true)
	if got := string(f.Image(Nothing).Kids["f"].Data); got != "0123x" {
		t.Errorf("the disk holds %q after the fsync", got)
	}
}

func TestCutComesBeforeTheCall(t *testing.T) {
	f, dir := mount(t, nil)
	write(t, dir+"/f", "one", true)
	syncDir(t, dir)
	cut := f.Cut(func(op Op, _ string) bool { return op == Fsync }, Nothing)
	file, err := os.OpenFile(dir+"/f", os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	defer func() { must(t, file.Close()) }()
	_, err = file.WriteString(", two")
	must(t, err)
	if err := file.Sync(); !errors.Is(err, unix.EIO) {
		t.Errorf("fsync in the dark: %v, expected EIO", err)
	}
	if got := string((<-cut).Kids["f"].Data); got != "one" {
		t.Errorf("the disk holds %q", got)
	}
	if _, err := file.WriteString("three"); !errors.Is(err, unix.EIO) {
		t.Errorf("write in the dark: %v, expected EIO", err)
	}
}
