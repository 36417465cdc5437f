// Package proc reads what the kernel has charged to a process.
package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// tick is the unit of utime and stime: USER_HZ is 100 on every Linux that Go
// runs on.
const tick = 10 * time.Millisecond

// CPU returns the user and system time that the process has used since it
// began, in steps of 10 ms (proc_pid_stat(5), fields 14 and 15).
func CPU(pid int) (time.Duration, error) { return ticks(pid, 11, 13) }

// User is the user time of it.
func User(pid int) (time.Duration, error) { return ticks(pid, 11, 12) }

// RSS returns the resident set of the process in bytes (VmRSS of
// proc_pid_status(5)).
func RSS(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		rest, ok := bytes.CutPrefix(line, []byte("VmRSS:"))
		if !ok {
			continue
		}
		f := bytes.Fields(rest)
		if len(f) != 2 || string(f[1]) != "kB" {
			break
		}
		n, err := strconv.ParseInt(string(f[0]), 10, 64)
		return n * 1024, err
	}
	return 0, fmt.Errorf("proc: no VmRSS for %d", pid)
}
