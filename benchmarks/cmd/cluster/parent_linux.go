package main

import (
	"os/exec"
	"syscall"
)

// endWithUs ends the process when the bench is killed.
func endWithUs(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
