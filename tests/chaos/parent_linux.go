package main

import (
	"os/exec"
	"syscall"
)

// endWithUs ends the process by a signal when the test is killed or times out.
func endWithUs(cmd *exec.Cmd, by syscall.Signal) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: by}
}
