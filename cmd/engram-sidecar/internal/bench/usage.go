package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// usage is what a process has used since it began.
type usage struct {
	cpu      time.Duration // user and system
	syscalls uint64        // reads and writes
	written  uint64        // bytes that went to the disk
}

func (u usage) minus(v usage) usage {
	return usage{cpu: u.cpu - v.cpu, syscalls: u.syscalls - v.syscalls, written: u.written - v.written}
}

// clockTick is the unit of /proc/PID/stat; Linux has it at 100 a second on every platform that Go runs on.
const clockTick = 10 * time.Millisecond

// used reads what a process has used so far; nothing for no process.
func (c *process) used() (usage, error) {
	if c == nil {
		return usage{}, nil
	}
	var u usage
	stat, err := os.ReadFile(c.proc("stat"))
	if err != nil {
		return u, fmt.Errorf("%w: %w", errNoProc, err)
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]) // the name before may hold anything
	if len(fields) < 13 {
		return u, fmt.Errorf("%w: %q", errNoProc, stat)
	}
	for _, f := range fields[11:13] { // utime, stime
		ticks, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return u, fmt.Errorf("%w: %w", errNoProc, err)
		}
		u.cpu += time.Duration(ticks) * clockTick
	}
	io, err := c.numbers("io")
	if err != nil {
		return u, err
	}
	u.syscalls, u.written = io["syscr"]+io["syscw"], io["write_bytes"]
	return u, nil
}

// memory is what a process has in memory now and had at its peak, in bytes.
func (c *process) memory() (now, peak uint64, err error) {
	if c == nil {
		return 0, 0, nil
	}
	status, err := c.numbers("status")
	return status["VmRSS"] << 10, status["VmHWM"] << 10, err
}

func (c *process) proc(file string) string {
	return fmt.Sprintf("/proc/%d/%s", c.cmd.Process.Pid, file)
}

// numbers reads a file of lines such as "VmHWM:  1234 kB".
func (c *process) numbers(file string) (map[string]uint64, error) {
	text, err := os.ReadFile(c.proc(file))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoProc, err)
	}
	numbers := map[string]uint64{}
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		if fields := strings.Fields(rest); len(fields) > 0 {
			if n, err := strconv.ParseUint(fields[0], 10, 64); err == nil {
				numbers[name] = n
			}
		}
	}
	return numbers, nil
}
