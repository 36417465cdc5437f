package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// endWithUs ends the process when the test is killed or times out.
func endWithUs(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// tick is the unit of utime and stime: USER_HZ is 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// cpuOf is the time that the process has used since it began (proc_pid_stat(5), fields 14 and 15).
func cpuOf(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	var sum int64
	for _, x := range f[11:13] {
		n, err := strconv.ParseInt(string(x), 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return time.Duration(sum) * tick, nil
}

// residentOf is VmRSS of proc_pid_status(5), and what of it belongs to files (RssFile, RssShmem), in bytes.
func residentOf(pid int) (all, mapped int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range bytes.Lines(b) {
		name, rest, _ := bytes.Cut(line, []byte(":"))
		to := map[string]*int64{"VmRSS": &all, "RssFile": &mapped, "RssShmem": &mapped}[string(name)]
		if to == nil {
			continue
		}
		n, err := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
		if err != nil {
			return 0, 0, err
		}
		*to += n << 10
	}
	if all == 0 {
		return 0, 0, fmt.Errorf("no VmRSS of %d", pid)
	}
	return all, mapped, nil
}

// waitedBy is how long the threads that there are have been ready to run and did not (sched-stats, /proc/<pid>/schedstat).
func waitedBy(pid int) (sum time.Duration) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, t := range tasks {
		b, err := os.ReadFile(t)
		if f := bytes.Fields(b); err == nil && len(f) > 1 { // the thread may have ended
			n, _ := strconv.ParseInt(string(f[1]), 10, 64)
			sum += time.Duration(n)
		}
	}
	return sum
}
