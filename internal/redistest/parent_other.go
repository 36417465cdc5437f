//go:build unix && !linux

package redistest

import "syscall"

// dieWithParent can do nothing here: a test that is killed leaves its server.
func dieWithParent(*syscall.SysProcAttr) {}
