package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Self returns the CPU time of the calling process.
func Self() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

// Parent returns the id of the process's parent (proc_pid_stat(5), field 4).
func Parent(pid int) (int, error) {
	f, err := stat(pid)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(f[1]))
}

// Family returns the CPU time of the process, of its children, and of those
// of its children that have ended.
func Family(pid int) (time.Duration, error) {
	sum, err := ticks(pid, 11, 15)
	if err != nil {
		return 0, err
	}
	paths, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	for _, path := range paths {
		child, err := strconv.Atoi(filepath.Base(path))
		if err != nil {
			return 0, err
		}
		if parent, err := Parent(child); err != nil || parent != pid {
			continue // another's, or it has ended: then it is the parent's
		}
		d, err := ticks(child, 11, 13)
		if err != nil && !gone(err) {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) }

// stat returns the fields of a process from its state on, field 3: the
// command's name before it may hold blanks and brackets.
func stat(pid int) ([][]byte, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 15 {
		return nil, fmt.Errorf("proc: short stat of %d", pid)
	}
	return f, nil
}

// ticks sums fields of a stat.
func ticks(pid, from, to int) (time.Duration, error) {
	f, err := stat(pid)
	if err != nil {
		return 0, err
	}
	sum := int64(0)
	for _, s := range f[from:to] {
		n, err := strconv.ParseInt(string(s), 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return time.Duration(sum) * tick, nil
}
