package engineio

import (
	"io"
	"net"
	"syscall"
)

// A Waiter reads a connection for one goroutine, without a buffer while there is nothing to read, where the system can wait for it.
type Waiter struct {
	conn net.Conn
	raw  syscall.RawConn
	buf  *[]byte // nil: none is held
	n    int
	err  error
	try  func(fd uintptr) bool // bound once
}

// NewWaiter makes a Waiter.
func NewWaiter(c net.Conn) *Waiter {
	w := &Waiter{conn: c, raw: rawConn(c)}
	w.try = w.tryRead
	return w
}

// Next waits for bytes, good until the next call or Release. It ends with io.EOF where the other end has.
func (w *Waiter) Next() ([]byte, error) {
	if w.raw == nil {
		if w.buf == nil {
			w.buf = readBufs.Get().(*[]byte)
		}
		n, err := w.conn.Read(*w.buf)
		if n > 0 {
			err = nil
		}
		return (*w.buf)[:n], err
	}
	w.Release()
	if err := w.raw.Read(w.try); err != nil {
		return nil, err
	}
	if w.n == 0 && w.err == nil {
		w.err = io.EOF
	}
	return (*w.buf)[:w.n], w.err
}

// tryRead is called when the descriptor may be readable; false waits for it to be.
func (w *Waiter) tryRead(fd uintptr) bool {
	w.buf = readBufs.Get().(*[]byte)
	if w.n, w.err = tryRead(fd, *w.buf); wouldBlock(w.err) {
		w.Release()
		return false
	}
	return true
}

// Release gives the buffer back.
func (w *Waiter) Release() {
	if w.buf != nil {
		readBufs.Put(w.buf)
		w.buf = nil
	}
}
