package recovery

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// TestCopyUnderLoad backs up while generations come and go. A store that has what was delivered before it was asked, as the
// embedded one has, and the copy together hold all that was acked before.
func TestCopyUnderLoad(t *testing.T) {
	b := keepBusy(t, memoryDir(t))
	for range 12 {
		to := memoryDir(t)
		if err := os.Chmod(to, 0o700); err != nil {
			t.Fatal(err)
		}
		acked := b.acked.Load()
		var released uint64
		_, err := Copy(t.Context(), b.dir, to, func(context.Context) error {
			_, gone := b.Journal.Totals()
			released = gone.Accepted
			for seen := b.acked.Load(); b.acked.Load() < seen+20; { // the store takes its time
				select {
				case <-t.Context().Done():
					return t.Context().Err()
				default:
					runtime.Gosched()
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		i := inspected(t, to)
		if len(i.Damages) != 0 || i.Balance.Accepted < acked+20 || i.Balance.Pending+released != i.Balance.Accepted {
			t.Fatalf("acked %d, released before %d, copied %+v, %v", acked, released, i.Report, i.Damages)
		}
		h := openDir(t, to)
		h.balanced(i.Balance)
		h.close()
	}
	b.stop()
}

func noStore(context.Context) error { return nil }

func TestCopyRefuses(t *testing.T) {
	from, full := memoryDir(t), memoryDir(t)
	openDir(t, from).close()
	if err := os.WriteFile(filepath.Join(full, "notes"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	before := hash(t, full)
	if _, err := Copy(t.Context(), from, full, noStore); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("into a full directory: %v", err)
	}
	if _, err := os.Stat(filepath.Join(full, "LOCK")); hash(t, full) != before || err == nil {
		t.Error("the full directory was changed")
	}
	if _, err := Copy(t.Context(), full, memoryDir(t), noStore); !errors.Is(err, ErrNoDataDir) {
		t.Errorf("from none: %v", err)
	}
	h := openDir(t, from)
	if _, err := Copy(t.Context(), h.crash(), from, noStore); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("into one in use: %v", err)
	}
	taken := memoryDir(t)
	lock, err := wal.AcquireLock(taken)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Copy(t.Context(), from, taken, noStore); !errors.Is(err, wal.ErrLocked) {
		t.Errorf("into one that somebody else restores: %v", err)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
}

// TestAnUnfinishedCopyIsRefused: a copy cut short must not pass for all there was.
func TestAnUnfinishedCopyIsRefused(t *testing.T) {
	from, to := memoryDir(t), filepath.Join(memoryDir(t), "copy")
	openDir(t, from).close()
	cut := errors.New("cut")
	if _, err := Copy(t.Context(), from, to, func(context.Context) error { return cut }); !errors.Is(err, cut) {
		t.Fatal(err)
	}
	if _, err := Open(small(to)); !errors.Is(err, ErrUnfinished) {
		t.Errorf("opened: %v", err)
	}
	if _, err := Copy(t.Context(), to, memoryDir(t), noStore); err == nil {
		t.Error("copied on")
	}
	if _, err := Copy(t.Context(), from, to, noStore); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("begun again without emptying it: %v", err)
	}
}
