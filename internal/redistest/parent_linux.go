package redistest

import "syscall"

// dieWithParent ends the server when the test's process is killed or times out.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
