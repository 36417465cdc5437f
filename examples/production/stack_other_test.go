//go:build unix && !linux

package main

import "os/exec"

// dieWithParent can do nothing here: a test that is killed leaves its processes.
func dieWithParent(*exec.Cmd) {}
