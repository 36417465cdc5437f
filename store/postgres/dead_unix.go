//go:build unix

package postgres

import (
	"bytes"
	"net"
	"syscall"
)

// dead tells that the other end of an idle connection has closed it, or has said why it will, as a server does that stops. What is sent on it would be lost, and
// nobody would know whether it was. It costs a system call that does not wait.
//
// Somebody may be reading: where a write takes pgx long, it reads in the background, and that goes on after the answer has come, until the next one. So it is
// Control here and not Read, which would wait for that reader: for good, since the next answer is to what is not sent before this has looked.
func dead(c net.Conn) bool {
	sc, ok := c.(syscall.Conn)
	if !ok { // TLS
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return true
	}
	ended := false
	err = raw.Control(func(fd uintptr) {
		var unasked [512]byte
		n, _, err := syscall.Recvfrom(int(fd), unasked[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch {
		case err == syscall.EAGAIN || err == syscall.EINTR:
		case err != nil, n == 0:
			ended = true
		default:
			// An ErrorResponse, or the notice of a server that ends at once: codes 57P01 to 57P05 of class Operator Intervention.
			ended = unasked[0] == 'E' || bytes.Contains(unasked[:n], []byte("C57P0"))
		}
	})
	return ended || err != nil
}
