package main

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"
)

// echo is a server that sends back what it gets, and says how each of its connections ended.
func echo(t *testing.T) (addr string, ended chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	ended = make(chan error, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, err := io.Copy(c, c)
				_ = c.Close()
				ended <- err
			}()
		}
	}()
	return l.Addr().String(), ended
}

func gateTo(t *testing.T, addr string) *gate {
	t.Helper()
	g, err := newGate(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.close)
	return g
}

func through(t *testing.T, g *gate) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", g.addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func roundTrip(c net.Conn) error {
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 5))
	return err
}

func TestGateCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind           cutKind
		client, server error // nil: an orderly end
	}{{reset, syscall.ECONNRESET, syscall.ECONNRESET}, {finish, nil, nil}, {abandoned, syscall.ECONNRESET, syscall.ECONNRESET}} {
		t.Run(c.kind.String(), func(t *testing.T) {
			t.Parallel()
			addr, ended := echo(t)
			g := gateTo(t, addr)
			conn := through(t, g)
			if err := roundTrip(conn); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			g.cut(func() cutKind { return c.kind })
			if _, err := io.Copy(io.Discard, conn); !errors.Is(err, c.client) {
				t.Errorf("the client's end: %v", err)
			}
			if err := <-ended; !errors.Is(err, c.server) {
				t.Errorf("the server's end: %v", err)
			}
			if late := time.Since(began) >= silence; late != (c.kind == abandoned) {
				t.Errorf("the server's end came after %v", time.Since(began))
			}
		})
	}
}

func TestGateRefuses(t *testing.T) {
	t.Parallel()
	addr, _ := echo(t)
	g := gateTo(t, addr)
	g.refuse(true)
	refused := func(g *gate) bool {
		c, err := net.Dial("tcp", g.addr())
		if err == nil {
			err = errors.Join(roundTrip(c), c.Close())
		}
		return err != nil
	}
	if !refused(g) {
		t.Error("a connection that was to be refused")
	}
	g.refuse(false)
	if err := roundTrip(through(t, g)); err != nil {
		t.Error(err)
	}
	if !refused(gateTo(t, "127.0.0.1:1")) { // nobody listens there
		t.Error("a connection to a server that is down")
	}
}

func TestGateStalls(t *testing.T) {
	t.Parallel()
	for _, ways := range [][]direction{{toServer}, {toClient}, {toServer, toClient}} {
		addr, _ := echo(t)
		g := gateTo(t, addr)
		conn := through(t, g)
		if err := roundTrip(conn); err != nil {
			t.Fatal(err)
		}
		g.stall(ways...)
		for _, way := range []direction{toServer, toClient} {
			select {
			case <-g.flowing(way):
				if slices.Contains(ways, way) {
					t.Errorf("%v: bytes flow in direction %d", ways, way)
				}
			default:
				if !slices.Contains(ways, way) {
					t.Errorf("%v: bytes do not flow in direction %d", ways, way)
				}
			}
		}
		if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if err := roundTrip(conn); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v: bytes came through: %v", ways, err)
		}
		g.flows()
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 5)); err != nil {
			t.Errorf("%v: %v", ways, err)
		}
	}
}
