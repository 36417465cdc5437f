package main

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gobwas/ws"
)

// patience bounds each wait for an answer that has to come.
const patience = 10 * time.Second

// dialFrom connects from a loopback address of its own, which is what the server tells its callers apart by.
func dialFrom(from, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: patience}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	return d.Dial("tcp", addr)
}

// A webSocket is a client's. One goroutine reads, one writes.
type webSocket struct {
	net.Conn
	in  *bufio.Reader
	buf []byte
}

// A statusError is an answer that is not what was asked for.
type statusError struct {
	status int
	body   string
}

func (e *statusError) Error() string { return fmt.Sprintf("%d %.80s", e.status, e.body) }

const upgradeHead = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// openWebSocket shakes hands on c; sid is that of a polling session, or empty.
func openWebSocket(c net.Conn, host, sid string) (*webSocket, error) {
	target := "/socket.io/?EIO=4&transport=websocket"
	if sid != "" {
		target += "&sid=" + sid
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	defer func() { _ = c.SetDeadline(time.Time{}) }()
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", target, host, upgradeHead); err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(c, 4<<10)
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		return nil, refusedBy(res)
	}
	return &webSocket{Conn: c, in: in}, nil
}

func refusedBy(res *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(res.Body, 4<<10)) // what came of it
	_ = res.Body.Close()
	return &statusError{res.StatusCode, string(body)}
}

// appendFrame appends a client's frame. The mask is the same each time: the server pays for unmasking all the same.
func appendFrame(b []byte, op ws.OpCode, payload []byte) []byte {
	mask := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	var head bytes.Buffer
	if err := ws.WriteHeader(&head, ws.Header{Fin: true, OpCode: op, Masked: true, Mask: mask, Length: int64(len(payload))}); err != nil {
		panic(err) // a bytes.Buffer takes everything
	}
	b = append(b, head.Bytes()...)
	at := len(b)
	b = append(b, payload...)
	ws.Cipher(b[at:], mask, 0)
	return b
}

func (c *webSocket) text(s string) error {
	_, err := c.Write(appendFrame(nil, ws.OpText, []byte(s)))
	return err
}

// next returns a whole frame, which is good until the next call. The server sends none in parts.
func (c *webSocket) next() (ws.OpCode, []byte, error) {
	h, err := ws.ReadHeader(c.in)
	if err != nil {
		return 0, nil, err
	}
	if int(h.Length) > cap(c.buf) {
		c.buf = make([]byte, h.Length+h.Length/2)
	}
	b := c.buf[:h.Length]
	_, err = io.ReadFull(c.in, b)
	return h.OpCode, b, err
}

// closeCode is how a closed connection ended.
func closeCode(payload []byte) int {
	if len(payload) < 2 {
		return 1005
	}
	return int(payload[0])<<8 | int(payload[1])
}

// join sends CONNECT and waits for its answer; a refusal is a *connectError.
func (c *webSocket) join(auth string) error {
	if err := c.text("40" + auth); err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	defer func() { _ = c.SetReadDeadline(time.Time{}) }()
	for {
		op, b, err := c.next()
		switch {
		case err != nil:
			return err
		case op == ws.OpClose:
			return fmt.Errorf("closed: %d", closeCode(b))
		case op == ws.OpText && bytes.HasPrefix(b, []byte("40")):
			return nil
		case op == ws.OpText && bytes.HasPrefix(b, []byte("44")):
			return &connectError{codeIn(b)}
		}
	}
}

type connectError struct{ code string }

func (e *connectError) Error() string { return "connect_error " + e.code }

// codeIn is the first code in an answer.
func codeIn(b []byte) string {
	_, rest, ok := bytes.Cut(b, []byte(`"code":"`))
	code, _, end := bytes.Cut(rest, []byte{'"'})
	if !ok || !end {
		return "no code"
	}
	return string(code)
}

// A poller is one HTTP connection with a polling session.
type poller struct {
	net.Conn
	in   *bufio.Reader
	host string
	sid  string
}

// openPolling makes a session, which is in no namespace yet.
func openPolling(c net.Conn, host string) (*poller, error) {
	p := &poller{Conn: c, in: newReader(c), host: host}
	body, err := p.do("GET", "", nil)
	if err != nil {
		return nil, err
	}
	var open struct{ SID string }
	if len(body) == 0 || body[0] != '0' {
		return nil, fmt.Errorf("not an open packet: %.60q", body)
	}
	if err := json.Unmarshal(body[1:], &open); err != nil {
		return nil, err
	}
	p.sid = open.SID
	return p, nil
}

func newReader(c net.Conn) *bufio.Reader { return bufio.NewReader(c) }

func (p *poller) head(method string) string {
	h := method + " /socket.io/?EIO=4&transport=polling"
	if p.sid != "" {
		h += "&sid=" + p.sid
	}
	return h + " HTTP/1.1\r\nHost: " + p.host + "\r\n"
}

// do is one request; an answer other than 200 is a *statusError.
func (p *poller) do(method, extra string, body []byte) ([]byte, error) {
	h := p.head(method) + extra
	if method == "POST" {
		h += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	_ = p.SetDeadline(time.Now().Add(2 * patience))
	if _, err := p.Write(append([]byte(h+"\r\n"), body...)); err != nil {
		return nil, err
	}
	res, err := http.ReadResponse(p.in, nil)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, refusedBy(res)
	}
	defer res.Body.Close()
	return io.ReadAll(res.Body)
}

// join connects the session to the namespace "/".
func (p *poller) join(auth string) error {
	if _, err := p.do("POST", "", []byte("40"+auth)); err != nil {
		return err
	}
	b, err := p.do("GET", "", nil)
	switch {
	case err != nil:
		return err
	case bytes.HasPrefix(b, []byte("44")):
		return &connectError{codeIn(b)}
	case !bytes.HasPrefix(b, []byte("40")):
		return fmt.Errorf("not the answer to CONNECT: %.60q", b)
	}
	return nil
}

// outcomeOf names what has come of an attempt, for counting.
func outcomeOf(err error) string {
	var status *statusError
	var refused *connectError
	var late net.Error
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &status):
		return fmt.Sprint(status.status)
	case errors.As(err, &refused):
		return refused.code
	case errors.As(err, &late) && late.Timeout():
		return "no answer in time"
	case strings.HasPrefix(err.Error(), "closed: "):
		return err.Error()
	}
	return "closed"
}

// claims are a token's.
type claims map[string]any

func goodClaims(user string) claims {
	now := time.Now()
	return claims{"sub": user, "name": user, "iss": issuer, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
}

// sign makes a JWT (RFC 7519) by HS256, or with another alg in its head.
func sign(c claims, alg, secret string) string {
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err) // of our own making
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := part(map[string]string{"alg": alg, "typ": "JWT"}) + "." + part(c)
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// authOf is the auth payload of a user that the server lets in.
func authOf(user string) string { return tokenAuth(sign(goodClaims(user), "HS256", secret)) }

func tokenAuth(token string) string { return `{"token":"` + token + `"}` }
