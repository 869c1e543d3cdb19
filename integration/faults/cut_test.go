package faults

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
)

// Of the ioctl that ends a file system at once, as a power cut would: from the kernel's uapi headers.
const (
	fsIocShutdown      = 0x8004587d // FS_IOC_SHUTDOWN, _IOR('X', 125, __u32)
	shutdownNoLogFlush = 2          // what is not on disk yet never gets there
)

// disk is a real file system in a file, mounted by way of a loop device.
type disk struct {
	t     testing.TB
	kind  string
	image string
	mount string
}

// newDisk makes one that is given back at the end of the test. xfs refuses to be smaller than 300 MB.
func newDisk(t testing.TB, kind string) *disk {
	t.Helper()
	needs(t, "root", "loop", "mount", "mkfs."+kind)
	dir := t.TempDir()
	d := &disk{t: t, kind: kind, image: filepath.Join(dir, "image"), mount: filepath.Join(dir, "mount")}
	size, quiet := int64(128<<20), []string{"-q", "-F"}
	if kind == "xfs" {
		size, quiet = 320<<20, []string{"-q", "-f"}
	}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.image, size); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(d.mount, 0o700); err != nil {
		t.Fatal(err)
	}
	run(t, "mkfs."+kind, append(quiet, d.image)...)
	d.up()
	t.Cleanup(d.down)
	return d
}

func run(t testing.TB, program string, args ...string) {
	t.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
}

func (d *disk) up() {
	d.t.Helper()
	run(d.t, "mount", "-t", d.kind, "-o", "loop", d.image, d.mount)
}

// down unmounts it, where it is mounted, once nobody uses it any more.
func (d *disk) down() {
	d.t.Helper()
	deadline := time.Now().Add(harness.Patience)
	for {
		err := unix.Unmount(d.mount, 0)
		if err == nil || err == unix.EINVAL { // not mounted
			return
		}
		if time.Now().After(deadline) {
			d.t.Errorf("unmount %s: %v", d.mount, err)
			_ = unix.Unmount(d.mount, unix.MNT_DETACH)
			return
		}
		<-time.After(5 * time.Millisecond)
	}
}

// cut takes the power away.
func (d *disk) cut() {
	d.t.Helper()
	f, err := os.Open(d.mount)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // it was only read
	if err := unix.IoctlSetPointerInt(int(f.Fd()), fsIocShutdown, shutdownNoLogFlush); err != nil {
		d.t.Fatalf("shut %s down: %v", d.kind, err)
	}
}

// TestFaultPowerCut takes the power away from a file system that really is one, again and again: with a journal whose store
// stays whole, and with an embedded store whose files are cut off with the journal's. (T2, T4, T9, B1, B2)
func TestFaultPowerCut(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			d := newDisk(t, kind)
			r := newRig(t, harness.Binary(t), filepath.Join(d.mount, "data"), 4)
			r.begin()
			for range sized(25, 200) {
				r.cut(d)
			}
			r.start()
			r.judge()
		})
		t.Run(kind+" under the embedded store", func(t *testing.T) {
			d := newDisk(t, kind)
			r := newRig(t, harness.Binary(t), filepath.Join(d.mount, "data"), 2)
			r.sidecar.Flags = nil
			for _, c := range r.clients {
				c.Window = 4 // each observation is looked for at the end, one by one
			}
			r.begin()
			for range sized(10, 100) {
				r.cut(d)
			}
			r.start()
			r.judgeEmbedded()
		})
	}
}

// cut is one life of the sidecar, which a power cut ends.
func (r *rig) cut(d *disk) {
	r.t.Helper()
	r.start()
	r.pause(15*time.Millisecond, 150*time.Millisecond)
	r.epoch.Shut() // an fsync that is under way during the ioctl may be answered with a success that is none
	d.cut()
	r.sidecar.Kill()
	d.down()
	d.up()
	r.epoch.Begin()
	r.faults++
}
