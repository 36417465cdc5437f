package main

import (
	"os/exec"
	"syscall"
)

// dieWithParent ends the process when the test is killed or times out.
func dieWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} }
