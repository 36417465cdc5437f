// Package load is a cheap crowd of WebSocket clients: one thread, one epoll, no
// goroutine and no buffer a connection, and deliveries are counted, not parsed.
// Everything it leaves of the machine is the server's.
package load

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// maxLost is how many connections a server may close where nothing is being
// delivered; the run goes on, and says how many.
const maxLost = 50

// textSize is the length of a message's text in bytes.
const textSize = 64

// errLost says that the server closed a connection; a measurement with fewer
// members than were asked for is none.
var errLost = errors.New("load: the server closed a connection")

type conn struct {
	fd       int
	upgraded bool
	joined   bool
	// rest is the start of a frame whose end has not come yet.
	rest []byte
	// tag begins the texts of this sender; empty for all others.
	tag []byte
	// own counts this sender's own texts that it has seen.
	own int
	// room is the number of the room that this client joins by itself, where
	// the dialect has it; seq is the place of the last entry that it heard.
	room int
	seq  uint64
}

// A Load is one crowd. It belongs to one goroutine.
type Load struct {
	dialect dialect
	addr    syscall.SockaddrInet4
	request []byte
	epfd    int
	conns   []*conn
	byFD    map[int32]*conn
	events  []syscall.EpollEvent
	buf     []byte
	joined  int
	// lost are connections that the server closed; strict allows none, since
	// every member counts.
	lost   int
	strict bool
	sent   int
	// deliveries counts events received, by all connections together.
	deliveries int
	// onOwn is called when a sender has received its own text.
	onOwn func(*conn) error
	// rooms is among how many the clients are dealt out; onEntry is called
	// with each entry that a client hears and with each of its acks.
	rooms   int
	onEntry func(c *conn, payload []byte) error
}

// New makes a crowd for the server at addr, an IPv4 loopback address with
// a port.
func New(addr, dialectName string) (*Load, error) {
	d, err := dialectOf(dialectName)
	if err != nil {
		return nil, err
	}
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	if !ap.Addr().Is4() || !ap.Addr().IsLoopback() {
		return nil, fmt.Errorf("load: %s is not an IPv4 loopback address", addr)
	}
	epfd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return &Load{
		dialect: d,
		addr:    syscall.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()},
		request: handshake(addr, d.path()),
		epfd:    epfd,
		byFD:    make(map[int32]*conn),
		events:  make([]syscall.EpollEvent, 256),
		buf:     make([]byte, 64<<10),
	}, nil
}

func handshake(host, path string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: " + host +
		"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
}

// Close closes every connection.
func (l *Load) Close() {
	for _, c := range l.conns {
		syscall.Close(c.fd)
	}
	syscall.Close(l.epfd)
}

// Connect brings the crowd to n joined members with at most inFlight
// handshakes open at a time, or fails after limit.
func (l *Load) Connect(n, inFlight int, limit time.Duration) error {
	end := time.Now().Add(limit)
	for l.joined < n {
		for len(l.conns) < n && len(l.conns)-l.joined < inFlight {
			if err := l.dial(); err != nil {
				return err
			}
		}
		if time.Now().After(end) {
			return fmt.Errorf("load: %d of %d joined in %s", l.joined, n, limit)
		}
		if err := l.poll(100 * time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// dial connects with a blocking call, which on loopback is answered from the
// server's backlog, and sends the handshake.
func (l *Load) dial() error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("load: socket: %w", err)
	}
	if err := syscall.Connect(fd, &l.addr); err != nil {
		syscall.Close(fd)
		return fmt.Errorf("load: connect: %w", err)
	}
	if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1); err != nil {
		syscall.Close(fd)
		return err
	}
	c := &conn{fd: fd, room: len(l.conns) % max(l.rooms, 1)}
	l.conns = append(l.conns, c)
	l.byFD[int32(fd)] = c
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}
	if err := syscall.EpollCtl(l.epfd, syscall.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return err
	}
	return write(fd, l.request)
}

// redial forgets a connection that the server closed; Connect makes another.
func (l *Load) redial(c *conn) error {
	l.lost++
	if l.lost > maxLost {
		return fmt.Errorf("%w, and %d more", errLost, l.lost)
	}
	if c.joined {
		l.joined--
	}
	delete(l.byFD, int32(c.fd))
	l.conns = slices.DeleteFunc(l.conns, func(o *conn) bool { return o == c })
	return syscall.Close(c.fd)
}

// write sends b whole. The socket blocks, and what a client sends is small
// beside its send buffer.
func write(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := syscall.Write(fd, b)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("load: write: %w", err)
		}
		b = b[n:]
	}
	return nil
}

// poll takes what has come, waiting at most for wait.
func (l *Load) poll(wait time.Duration) error {
	ms := int((wait + time.Millisecond - 1) / time.Millisecond)
	n, err := syscall.EpollWait(l.epfd, l.events, max(ms, 0))
	if err == syscall.EINTR {
		return nil
	}
	if err != nil {
		return fmt.Errorf("load: epoll: %w", err)
	}
	for i := range n {
		c := l.byFD[l.events[i].Fd]
		err := l.read(c)
		if errors.Is(err, errLost) && !l.strict {
			err = l.redial(c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// run polls until end.
func (l *Load) run(end time.Time) error {
	for {
		left := time.Until(end)
		if left <= 0 {
			return nil
		}
		if err := l.poll(min(left, 100*time.Millisecond)); err != nil {
			return err
		}
	}
}

func (l *Load) read(c *conn) error {
	n, err := syscall.Read(c.fd, l.buf)
	if err == syscall.EINTR {
		return nil
	}
	if n == 0 || err == syscall.ECONNRESET {
		return errLost
	}
	if err != nil {
		return fmt.Errorf("load: read: %w", err)
	}
	b := l.buf[:n]
	if len(c.rest) > 0 {
		b = append(c.rest, b...)
	}
	rest, err := l.take(c, b)
	if err != nil {
		return err
	}
	// rest may lie in c.rest's own array; append moves it to the front.
	c.rest = append(c.rest[:0], rest...)
	if len(c.rest) == 0 {
		c.rest = nil
	}
	return nil
}

// take handles every whole frame in b and returns what is left.
func (l *Load) take(c *conn, b []byte) ([]byte, error) {
	if !c.upgraded {
		end := bytes.Index(b, []byte("\r\n\r\n"))
		if end < 0 {
			return b, nil
		}
		if !bytes.HasPrefix(b, []byte("HTTP/1.1 101 ")) {
			return nil, fmt.Errorf("load: handshake refused: %.60q", b)
		}
		c.upgraded, b = true, b[end+4:]
		if err := l.send(c, opText, l.dialect.hello()); err != nil {
			return nil, err
		}
	}
	for {
		op, payload, size := frameAt(b)
		if size == 0 {
			return b, nil
		}
		if err := l.frame(c, op, payload); err != nil {
			return nil, err
		}
		b = b[size:]
	}
}

func (l *Load) frame(c *conn, op byte, payload []byte) error {
	switch op {
	case opClose:
		return errLost
	case opPing:
		return l.send(c, opPong, payload)
	case opText:
	default:
		return nil
	}
	answer, deliveries, joined := l.dialect.take(c, payload)
	if joined && !c.joined {
		c.joined = true
		l.joined++
	}
	l.deliveries += deliveries
	if l.onEntry != nil && !joined && isEntry(payload) {
		if err := l.onEntry(c, payload); err != nil {
			return err
		}
	}
	if len(c.tag) > 0 && deliveries > 0 {
		if own := bytes.Count(payload, c.tag); own > 0 {
			c.own += own
			if err := l.onOwn(c); err != nil {
				return err
			}
		}
	}
	return l.send(c, opText, answer)
}

func (l *Load) send(c *conn, op byte, payload []byte) error {
	if payload == nil {
		return nil
	}
	return write(c.fd, appendFrame(nil, op, payload))
}

// say broadcasts one text of textSize bytes that begins with tag.
func (l *Load) say(c *conn, tag string) error {
	l.sent++
	text := fmt.Sprintf("%s%-*d", tag, textSize-len(tag), l.sent)
	return l.send(c, opText, l.dialect.event(text, l.sent))
}
