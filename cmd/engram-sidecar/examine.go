package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/engram-sidecar/engram-sidecar/cmd/engram-sidecar/internal/config"
	"github.com/engram-sidecar/engram-sidecar/proxy/store/embedded"
)

func examineDirectory(cfg config.Config, holder string) finding {
	const what = "directory"
	info, err := os.Stat(cfg.DataDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return well(what, "%s is not there yet: serve makes it", cfg.DataDir)
	case err != nil:
		return finding{what, gradeFailure, err.Error(), "let this user read it, or name another with --data-dir"}
	case !info.IsDir():
		return finding{what, gradeFailure, cfg.DataDir + " is no directory", "name another with --data-dir"}
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return finding{
			what, gradeFailure, fmt.Sprintf("%s belongs to user %d, this is user %d", cfg.DataDir, st.Uid, os.Geteuid()),
			"run as its owner, or chown it",
		}
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return finding{what, gradeFailure, fmt.Sprintf("%s may be written by others (mode %#o)", cfg.DataDir, mode), "chmod 700 it"}
	}
	if holder != "" {
		return well(what, "%s, in use by %s", cfg.DataDir, holder)
	}
	return well(what, "%s, nobody has it", cfg.DataDir)
}

// nearest is the data directory, or the nearest directory above it that is there.
func nearest(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// filesystems that lose what was synced, or sync it elsewhere, by their magic numbers.
var filesystems = map[int64]string{
	unix.TMPFS_MAGIC:           "tmpfs, which a restart of the machine empties",
	unix.RAMFS_MAGIC:           "ramfs, which a restart of the machine empties",
	unix.NFS_SUPER_MAGIC:       "NFS, whose locks and syncs depend on its server",
	unix.OVERLAYFS_SUPER_MAGIC: "an overlay, such as a container's own file system, which goes with the container",
}

func examineDisk(cfg config.Config) finding {
	const what = "disk"
	var st unix.Statfs_t
	if err := unix.Statfs(nearest(cfg.DataDir), &st); err != nil {
		return finding{what, gradeFailure, err.Error(), "see why the file system does not answer"}
	}
	free := st.Bavail * uint64(st.Bsize)                                                     //nolint:gosec // a size
	said := fmt.Sprintf("%s free of %s", inUnits(free), inUnits(st.Blocks*uint64(st.Bsize))) //nolint:gosec // a size
	if least := uint64(max(cfg.JournalBytes, config.MinJournal)) + uint64(cfg.JournalReserve); free < least {
		return finding{
			what, gradeFailure, said + fmt.Sprintf(", less than the %s that the journal may need", inUnits(least)),
			"make room, or set journal-max-bytes lower",
		}
	}
	if name, odd := filesystems[int64(st.Type)]; odd { //nolint:unconvert,nolintlint // it is an int32 on some architectures
		return finding{what, gradeWarning, said + ", on " + name, "put the data directory on a disk that stays"}
	}
	return well(what, "%s", said)
}

// What an fsync takes on a disk that does what it says, and on one that is usable.
const (
	fsyncTooFast = 20 * time.Microsecond
	fsyncTooSlow = 50 * time.Millisecond
	fsyncProbes  = 25
)

// examineFsync appends and syncs as the journal does, in a file of its own.
func examineFsync(cfg config.Config) finding {
	const what = "fsync"
	f, err := os.CreateTemp(nearest(cfg.DataDir), ".engram-sidecar-doctor-")
	if err != nil {
		return finding{what, gradeFailure, err.Error(), "let this user write there, or name another with --data-dir"}
	}
	defer os.Remove(f.Name()) //nolint:errcheck // an empty probe
	defer f.Close()           //nolint:errcheck // likewise
	took := make([]time.Duration, fsyncProbes)
	block := bytes.Repeat([]byte{'x'}, 4<<10)
	for i := range took {
		began := time.Now()
		if _, err := f.Write(block); err != nil {
			return finding{what, gradeFailure, err.Error(), "make room, or look at the disk"}
		}
		if err := f.Sync(); err != nil {
			return finding{what, gradeFailure, err.Error(), "look at the disk: what it takes it does not keep"}
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return judgeFsync(took[len(took)/2], took[len(took)-1])
}

func judgeFsync(median, longest time.Duration) finding {
	const what = "fsync"
	said := fmt.Sprintf("%v for 4 KiB, %v at most of %d", median.Round(time.Microsecond), longest.Round(time.Microsecond), fsyncProbes)
	switch {
	case median < fsyncTooFast:
		return finding{what, gradeWarning, said + ": no disk is that fast", "see that the disk, or what stands for it, keeps what it says it has synced"}
	case median > fsyncTooSlow:
		return finding{what, gradeWarning, said + ": each acknowledgement waits for one", "use a faster disk, or one that fewer others use"}
	default:
		return well(what, "%s", said)
	}
}

func examineClock() finding {
	const what = "clock"
	now := time.Now()
	if now.Year() < 2026 {
		return finding{what, gradeWarning, "it says " + now.UTC().Format(time.RFC3339), "set it: times are kept with what is observed"}
	}
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return well(what, "%s", now.UTC().Format(time.RFC3339))
	}
	if state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0 {
		return finding{what, gradeWarning, now.UTC().Format(time.RFC3339) + ", not synchronised", "run chrony or systemd-timesyncd: sessions are not hurt, times are"}
	}
	return well(what, "%s, synchronised", now.UTC().Format(time.RFC3339))
}

// examineAddresses sees whether the addresses are free, where no sidecar runs that would have them.
func examineAddresses(cfg config.Config, running bool) []finding {
	var found []finding
	for _, a := range []struct{ key, address string }{{"listen", cfg.Listen}, {"admin-listen", cfg.AdminListen}} {
		switch {
		case running:
			found = append(found, well(a.key, "%s, the running sidecar's to have", a.address))
		case strings.HasPrefix(a.address, "unix://"):
			path := strings.TrimPrefix(a.address, "unix://")
			if conn, err := net.Dial("unix", path); err == nil {
				_ = conn.Close() // it was only to see who is there
				found = append(found, finding{a.key, gradeFailure, a.address + " is in use by another process", "stop that one, or choose another with --" + a.key})
				continue
			}
			found = append(found, well(a.key, "%s, nobody answers there", a.address))
		default:
			l, err := net.Listen("tcp", a.address)
			if err != nil {
				found = append(found, finding{a.key, gradeFailure, err.Error(), "stop what has it, or choose another with --" + a.key})
				continue
			}
			_ = l.Close() // nobody was answered on it
			found = append(found, well(a.key, "%s, free", a.address))
		}
	}
	return found
}

// storeTime is how long a store may take to answer.
const storeTime = 5 * time.Second

// examineStore asks a store elsewhere. The embedded one is in the data directory, and its owner's alone.
func examineStore(ctx context.Context, cfg config.Config, log hclog.Logger) finding {
	const what = "store"
	kind, _ := cfg.StoreKind()
	shown := config.HideSecrets(cfg.Store)
	if kind == "embedded" {
		return well(what, "embedded, in the data directory")
	}
	store, err := openBackend(cfg, [16]byte{}, log) //nolint:contextcheck // it is closed below; what is asked does not depend on the journal
	if err != nil {
		return finding{what, gradeFailure, config.HideSecrets(err.Error()), "mend the setting store"}
	}
	defer store.Close() //nolint:errcheck // it was only asked
	checker, ok := store.(interface{ Check(context.Context) error })
	if !ok {
		return well(what, "%s, which cannot be asked beforehand", shown)
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	if err := checker.Check(ctx); err != nil {
		return finding{
			what, gradeWarning, fmt.Sprintf("%s does not answer: %s", shown, config.HideSecrets(err.Error())),
			"observations are taken all the same, and wait in the journal: start it, or mend the setting store",
		}
	}
	return well(what, "%s answers", shown)
}

func examineProcessor() finding {
	simd := embedded.SIMD()
	said := fmt.Sprintf("%s, %d cores, vectors are compared with %s", runtime.GOARCH, runtime.NumCPU(), simd)
	if !strings.HasPrefix(simd, "plain") {
		return well("processor", "%s", said)
	}
	return finding{
		"processor", gradeWarning, said,
		"recalls over the embedded store take about three times as long; use amd64 with AVX2, or another store",
	}
}

// examineJournal reads every byte of journal and ledger, in a process of its own: what a damaged file does to a reader that
// maps it ends that process, and not this one.
func (p *program) examineJournal(ctx context.Context, cfg config.Config) finding {
	const what = "journal"
	if _, err := os.Stat(filepath.Join(cfg.DataDir, "journal")); err != nil {
		return well(what, "there is none yet")
	}
	self, err := os.Executable()
	if err != nil {
		return finding{what, gradeWarning, err.Error(), "run engram-sidecar journal verify"}
	}
	verify := exec.CommandContext(ctx, self, "journal", "verify", "--data-dir", cfg.DataDir) //nolint:gosec // our own program
	verify.Args[0] = "engram-sidecar"
	verify.Env = p.environ
	out, err := verify.CombinedOutput()
	said := strings.TrimSpace(string(out))
	switch {
	case err == nil:
		return well(what, "%s", strings.ReplaceAll(said, "\n", "; "))
	case verify.ProcessState != nil && verify.ProcessState.ExitCode() < 0:
		return finding{
			what, gradeFailure, "reading it ended the process that read: " + verify.ProcessState.String(),
			"look at the disk (dmesg); take a copy with engram-sidecar backup before anything else",
		}
	default:
		return finding{what, gradeFailure, clip(strings.ReplaceAll(said, "\n", "; "), 1000), "see engram-sidecar journal verify, and docs/operations/streaming.md on DAMAGE"}
	}
}
