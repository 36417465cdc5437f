//go:build !unix

package engineio

import (
	"net"
	"syscall"
)

// rawConn: elsewhere every connection has a buffer and a writing goroutine.
func rawConn(net.Conn) syscall.RawConn { return nil }

func tryRead(uintptr, []byte) (int, error)  { return 0, syscall.EINVAL }
func tryWrite(uintptr, []byte) (int, error) { return 0, syscall.EINVAL }
