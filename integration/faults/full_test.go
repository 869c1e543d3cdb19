package faults

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	"github.com/engram-sidecar/engram-sidecar/integration/smalldisk"
)

// TestFaultFullDisk fills disks of many sizes: by what the clients bring, and by what somebody else brings, to the last
// byte. Clients are told in-band before the disk is full, where it is large enough to keep a reserve; the same process
// takes observations again when there is room; nothing that was acked is lost, and nothing is removed but what the store
// has taken. (T5, T12, B8)
func TestFaultFullDisk(t *testing.T) {
	sizes := []int64{64 << 10, 96 << 10, 160 << 10, 256 << 10, 1 << 20, 3 << 20, 8 << 20, 64 << 20}
	if sized(0, 1) == 1 {
		sizes = sizes[:0]
		for size := int64(64 << 10); size <= 1<<20; size += 16 << 10 {
			sizes = append(sizes, size)
		}
		for size := int64(2 << 20); size <= 64<<20; size += 2 << 20 {
			sizes = append(sizes, size)
		}
	}
	var resumed []time.Duration
	for _, size := range sizes {
		t.Run(fmt.Sprintf("%dKiB", size>>10), func(t *testing.T) {
			if took, ok := fillDisk(t, size); ok {
				resumed = append(resumed, took)
			}
		})
	}
	if len(resumed) == 0 {
		t.Fatal("no disk was large enough")
	}
	slices.Sort(resumed)
	t.Logf("%d of %d disks were large enough; from space to the next ack: p50 %v, max %v", len(resumed), len(sizes),
		resumed[len(resumed)/2].Round(time.Millisecond), resumed[len(resumed)-1].Round(time.Millisecond))
}

// fillDisk is the life of a sidecar on a disk of its own. It returns how long it took from space to the next ack, and
// false where the disk was too small for a session.
func fillDisk(t *testing.T, size int64) (time.Duration, bool) {
	disk := smalldisk.New(t, size, 0)
	oracle := harness.NewOracle()
	store := harness.NewEngram(t, oracle)
	store.Stop()
	sidecar := harness.NewSidecar(t, harness.Binary(t), "--store", "engram://"+store.Address)
	sidecar.Dir = filepath.Join(disk, "data")
	if !sidecar.TryStart() {
		code := sidecar.ExitCode()
		t.Logf("too small to start: exit code %d", code)
		if code != 74 {
			t.Errorf("exit code %d, expected 74", code)
		}
		return 0, false
	}
	pid := sidecar.Pid()
	say, err := trySpeaker(t, sidecar, oracle, "speaker")
	if err != nil {
		if code := status.Code(err); code != codes.ResourceExhausted {
			t.Errorf("a session on a disk that is too small: %v, expected RESOURCE_EXHAUSTED", err)
		}
		t.Logf("too small for a session: %v", err)
		return 0, false
	}
	say.untilRefused()
	told := say.acked
	if free := freeOf(t, disk); free == 0 {
		t.Errorf("the client was told when the disk was full, after %d acks: expected before", told)
	}
	ballast(t, disk)
	if say.try() {
		t.Errorf("an observation was acked on a full disk")
	}
	if err := os.Remove(filepath.Join(disk, "ballast")); err != nil {
		t.Fatal(err)
	}
	store.Start()
	sidecar.Await("the store's first answer", func() (bool, error) { // which its breaker may put off
		b, err := sidecar.Balance()
		return b.Delivered > 0, err
	})
	took := say.resume(sidecar)
	duringAcks(t, disk, say, sidecar)
	if sidecar.Pid() != pid {
		t.Errorf("another process serves: %d, expected %d", sidecar.Pid(), pid)
	}
	sidecar.Kill()
	sidecar.Start()
	judgeSpeaker(t, sidecar, oracle, say)
	t.Logf("told after %d acks; acks again %v after there was room; %d acked in all", told, took.Round(time.Millisecond), say.acked)
	return took, true
}

// duringAcks fills the disk while observations are acked, and takes it back.
func duringAcks(t *testing.T, disk string, say *speaker, sidecar *harness.Sidecar) {
	t.Helper()
	ballast(t, disk)
	say.untilRefused() // which is when what it had measured and allocated before is used up
	if err := os.Remove(filepath.Join(disk, "ballast")); err != nil {
		t.Fatal(err)
	}
	say.resume(sidecar)
}

// untilRefused observes until there is no room.
func (p *speaker) untilRefused() {
	p.t.Helper()
	for acked := true; acked; {
		acked = p.try()
	}
}

// resume returns how long it takes until an observation is acked again.
func (p *speaker) resume(s *harness.Sidecar) time.Duration {
	p.t.Helper()
	began := time.Now()
	for !p.try() {
		if time.Since(began) > harness.Patience {
			st, _ := s.Status()
			p.t.Fatalf("no ack within %v after there was room: %+v", harness.Patience, st)
		}
		<-time.After(10 * time.Millisecond)
	}
	took := time.Since(began)
	if took > 5*time.Second {
		p.t.Errorf("acks again %v after there was room, expected within 5 s", took)
	}
	return took
}

// judgeSpeaker lets the oracle judge, and holds the balance against it.
func judgeSpeaker(t *testing.T, s *harness.Sidecar, oracle *harness.Oracle, say *speaker) {
	t.Helper()
	b := s.Drained()
	verdict := oracle.Judge()
	for _, v := range verdict.Violations {
		t.Errorf("%s: %s", v.Invariant, v.Text)
	}
	if want := (harness.Balance{Accepted: say.acked, Delivered: say.acked}); b != want || uint64(verdict.Stored) != say.acked {
		t.Errorf("balance %+v and %d in the store: expected %+v", b, verdict.Stored, want)
	}
}

func freeOf(t *testing.T, dir string) uint64 {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	return st.Bavail
}

// ballast fills the disk to the last byte.
func ballast(t *testing.T, disk string) {
	t.Helper()
	f, err := os.Create(filepath.Join(disk, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(f, zeros{})
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("filling the disk: %v, expected ENOSPC", err)
	}
	_ = f.Close() // it has no room: that is what it is for
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
