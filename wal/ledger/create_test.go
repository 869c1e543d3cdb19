package ledger

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// A crash in the making leaves a temporary file, which counts for nothing.
func TestLeftoverOfACrash(t *testing.T) {
	for name, left := range map[string][]byte{"nothing of a database": []byte("half"), "empty": nil, "large": make([]byte, 1<<20)} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.commit(opened(1))
			d.flush()
			for _, lose := range []bool{false, true} {
				d.reload(func() {
					if err := os.WriteFile(temporary(d.path()), left, 0o600); err != nil {
						t.Fatal(err)
					}
					if lose {
						d.loseFile()
					}
				})
				if d.session(1).ID != id(1) {
					t.Fatal("the session is gone")
				}
				if _, err := os.Stat(temporary(d.path())); !errors.Is(err, os.ErrNotExist) {
					t.Fatalf("the temporary file: %v", err)
				}
				if fi, err := os.Stat(d.path()); err != nil || fi.Mode().Perm() != 0o600 {
					t.Fatalf("the file: %v, %v", fi, err)
				}
			}
		})
	}
}

// A crash between making the file and naming it leaves no ledger at all, never half a one.
func TestFileIsMadeUnderAnotherName(t *testing.T) {
	dir := memoryDir(t)
	path := dir + "/" + FileName
	if err := os.Mkdir(path, 0o700); err != nil { // the last step cannot succeed
		t.Fatal(err)
	}
	if err := os.WriteFile(path+"/x", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := createDisk(path, testJournal); err == nil || !strings.Contains(err.Error(), "create the ledger") {
		t.Fatalf("create: %v", err)
	}
	k, err := readDisk(temporary(path), testJournal)
	if err != nil || len(k.gens) != 0 || k.past != (Past{}) {
		t.Fatalf("the temporary file holds %+v, %v", k, err)
	}
}

func TestOptions(t *testing.T) {
	d := newDesk(t)
	db := d.disk.handle()
	if db.NoSync || db.NoGrowSync || db.NoFreelistSync || db.FreelistType != bbolt.FreelistMapType || db.IsReadOnly() {
		t.Fatalf("opened with %+v", db)
	}
	if o := options(); o.NoGrowSync || o.NoFreelistSync || o.Timeout != lockTimeout || o.MmapFlags != 0 {
		t.Fatalf("options %+v", o)
	}
}

// A file that another process holds is neither waited for without end nor taken for damaged.
func TestFileInUse(t *testing.T) {
	d := newDesk(t)
	if _, err := Load(d.dir, testJournal, nil); !errors.Is(err, bolterrors.ErrTimeout) || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "another process holds it") {
		t.Fatalf("load: %v", err)
	}
}

func TestFileThatMayNotBeRead(t *testing.T) {
	if err := openError("x", os.ErrPermission); !errors.Is(err, os.ErrPermission) || errors.Is(err, ErrDamaged) {
		t.Fatalf("error %v", err)
	}
	d := newDesk(t)
	if err := errors.Join(d.Close(), os.Chmod(d.path(), 0)); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	if _, err := Load(d.dir, testJournal, nil); !errors.Is(err, os.ErrPermission) || errors.Is(err, ErrDamaged) {
		t.Fatalf("load: %v", err)
	}
}

// grow writes letters and takes them out again, so that the file is large and holds little.
func (d *desk) grow(size int) {
	d.t.Helper()
	at := d.commit(observations(7, size>>20)...)
	for _, i := range at {
		r := observed(7, 1)
		r.Payload = bytes.Repeat([]byte{7}, 1<<20)
		d.bury(i, r)
		d.flush()
	}
	for _, i := range at {
		d.commit(settled(i, 3))
		d.flush()
	}
}

func (d *desk) size() int64 {
	d.t.Helper()
	fi, err := os.Stat(d.path())
	if err != nil {
		d.t.Fatal(err)
	}
	return fi.Size()
}

// bbolt gives nothing back: a file that is large and mostly empty is written anew at a start, with all that it holds.
func TestFileStaysSmall(t *testing.T) {
	d := newDesk(t)
	d.commit(opened(1))
	at := d.commit(observations(1, 3)...)
	d.bury(at[0], observed(1, 1))
	d.Settle(at[1], id(1), 1)
	d.grow(12 << 20)
	large, want := d.size(), d.Balance()
	if large < 8<<20 {
		t.Fatalf("the file has %d bytes: nothing is tested", large)
	}
	if b := d.reload(nil); b.Lost() != nil {
		t.Fatal(b.Lost())
	}
	if d.size() > 1<<20 {
		t.Fatalf("the file has %d bytes, had %d", d.size(), large)
	}
	if d.Balance() != want || d.session(1).Last != 3 {
		t.Fatalf("balance %+v, want %+v", d.Balance(), want)
	}
	d.letters(at[0])
	db := d.disk.handle()
	if db.NoSync || db.NoGrowSync || db.NoFreelistSync {
		t.Fatal("after it was written anew it is not synced")
	}
	if _, err := os.Stat(temporary(d.path())); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the temporary file: %v", err)
	}
	d.commit(observed(1, 4))
	d.flush()
	d.reload(nil)
	if d.session(1).Last != 4 {
		t.Fatalf("session %+v", d.session(1))
	}
}

func TestSmallOrFullFileIsLeftAlone(t *testing.T) {
	d := newDesk(t)
	d.grow(2 << 20)
	if d.disk.mostlyFree() {
		t.Fatalf("a file of %d bytes is to be written anew", d.size())
	}
	at := d.commit(observations(1, 9)...)
	for _, i := range at {
		r := observed(1, 1)
		r.Payload = bytes.Repeat([]byte{7}, 1<<20)
		d.bury(i, r)
	}
	d.flush()
	if d.size() < compactAbove || d.disk.mostlyFree() {
		t.Fatalf("a file of %d bytes that is full is to be written anew", d.size())
	}
}

// Where there is no way to write the file anew it stays as it is.
func TestFileThatCannotBeCompacted(t *testing.T) {
	d := newDesk(t)
	d.commit(opened(1))
	d.grow(12 << 20)
	large := d.size()
	if err := errors.Join(d.Close(), os.MkdirAll(temporary(d.path())+"/in the way", 0o700)); err != nil {
		t.Fatal(err)
	}
	if _, err := openDisk(d.path(), hclog.NewNullLogger()); err == nil { // what is left of a crash must go first
		t.Fatal("what is in the way was passed over")
	}
	disk := &disk{path: d.path()}
	if err := disk.open(); err != nil {
		t.Fatal(err)
	}
	if err := disk.compact(); err == nil || disk.handle() == nil {
		t.Fatalf("compact: %v", err)
	}
	if err := errors.Join(disk.close(), os.RemoveAll(temporary(d.path()))); err != nil {
		t.Fatal(err)
	}
	if d.size() != large {
		t.Fatalf("the file has %d bytes, had %d", d.size(), large)
	}
	d.reload(nil)
	if d.session(1).ID != id(1) {
		t.Fatal("the session is gone")
	}
}
