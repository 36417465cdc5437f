package main

import (
	"os/exec"
	"syscall"
)

// endWithUs ends the process when the test is killed or times out.
func endWithUs(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
