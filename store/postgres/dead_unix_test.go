//go:build unix

package postgres

import (
	"net"
	"syscall"
	"testing"
	"time"
)

// A connection that somebody is reading from is looked at without waiting for that reader.
func TestDeadBesideAReader(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	reading, enough, read := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		read <- raw.Read(func(uintptr) bool {
			close(reading)
			<-enough
			return true
		})
	}()
	<-reading
	looked := make(chan bool, 1)
	go func() { looked <- dead(conn) }()
	select {
	case ended := <-looked:
		if ended {
			t.Error("it lives")
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits for the reader")
	}
	close(enough)
	if err := <-read; err != nil {
		t.Error(err)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); !dead(conn); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("its other end has closed it")
		}
	}
}
