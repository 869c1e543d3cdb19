package bench

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Machine says what the figures were measured on.
type Machine struct {
	CPU    string    `json:"cpu"`
	Cores  int       `json:"cores"`
	Memory uint64    `json:"memory_bytes"`
	Kernel string    `json:"kernel"`
	Disk   string    `json:"disk"` // the kind of file system
	Go     string    `json:"go"`
	When   time.Time `json:"when"`
}

func thisMachine(dir string) Machine {
	m := Machine{
		Cores: runtime.NumCPU(), Go: runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH,
		CPU: "unknown", When: time.Now().UTC().Truncate(time.Second),
	}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.Memory = info.Totalram * uint64(info.Unit)
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Sysname[:]) + " " + unix.ByteSliceToString(name.Release[:])
	}
	m.Disk = diskOf(dir)
	return m
}

// inMemory is the file system on which an fsync costs nothing, and durability is none.
const inMemory = "tmpfs"

// diskOf names the file system of a directory.
func diskOf(dir string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "unknown"
	}
	switch int64(st.Type) {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlayfs"
	case unix.TMPFS_MAGIC:
		return inMemory
	default:
		return fmt.Sprintf("file system %#x", st.Type)
	}
}

// String says it in one line.
func (m Machine) String() string {
	return fmt.Sprintf("%s, %d cores, %s of memory, %s, %s, %s, %s", m.CPU, m.Cores, size(float64(m.Memory)), m.Disk, m.Kernel,
		m.Go, m.When.Format(time.RFC3339))
}
