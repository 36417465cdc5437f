package chattest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// A frame is an Engine.IO message: text with its packet type, or binary.
type frame struct {
	binary bool
	data   []byte
}

// A wire is a transport. One goroutine reads and one writes.
type wire interface {
	read() ([]frame, error)
	write([]frame) error
	bye() // tells the server that the client leaves
	close()
}

const host = "chat.test"

func endpoint(scheme, transport string, o *options) *url.URL {
	q := url.Values{}
	for k, v := range o.query {
		q[k] = v
	}
	q.Set("EIO", "4")
	q.Set("transport", transport)
	return &url.URL{Scheme: scheme, Host: host, Path: "/socket.io/", RawQuery: q.Encode()}
}

// dialWire opens a transport; its first read gives the open packet.
func dialWire(ctx context.Context, s *server, o *options) (wire, error) {
	if o.polling {
		return newPolling(s, o), nil
	}
	d := ws.Dialer{
		Header:  ws.HandshakeHeaderHTTP(o.header),
		NetDial: func(ctx context.Context, _, _ string) (net.Conn, error) { return s.dial(ctx) },
	}
	body := new(bytes.Buffer)
	d.OnStatusError = func(_ int, _ []byte, r io.Reader) { readBody(body, r) }
	conn, br, _, err := d.Dial(ctx, endpoint("ws", "websocket", o).String())
	var status ws.StatusError
	if errors.As(err, &status) {
		return nil, &DialError{Status: int(status), Message: body.String()}
	}
	if err != nil {
		return nil, err
	}
	w := &webSocket{Conn: conn, r: conn}
	if br != nil {
		w.r = br
	}
	return w, nil
}

// readBody reads the body of a response that comes whole.
func readBody(dst *bytes.Buffer, r io.Reader) {
	resp, err := http.ReadResponse(bufio.NewReader(r), nil)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	dst.Write(bytes.TrimSpace(body))
}

type webSocket struct {
	net.Conn
	r io.Reader
}

func (w *webSocket) read() ([]frame, error) {
	rw := struct {
		io.Reader
		io.Writer
	}{w.r, w.Conn}
	data, op, err := wsutil.ReadServerData(rw)
	return []frame{{op == ws.OpBinary, data}}, err
}

func (w *webSocket) write(frames []frame) error {
	for _, f := range frames {
		op := ws.OpText
		if f.binary {
			op = ws.OpBinary
		}
		if err := wsutil.WriteClientMessage(w.Conn, op, f.data); err != nil {
			return err
		}
	}
	return nil
}

func (w *webSocket) bye() {
	_ = w.SetWriteDeadline(time.Now().Add(time.Second))
	_ = wsutil.WriteClientMessage(w.Conn, ws.OpClose, ws.NewCloseFrameBody(ws.StatusNormalClosure, ""))
}

func (w *webSocket) close() { _ = w.Conn.Close() }

type polling struct {
	http   http.Client
	url    *url.URL
	header http.Header
	ctx    context.Context
	cancel context.CancelFunc
}

func newPolling(s *server, o *options) *polling {
	p := &polling{url: endpoint("http", "polling", o), header: o.header}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.http.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return s.dial(ctx) }}
	return p
}

func (p *polling) do(method string, body string) ([]byte, error) {
	r, err := http.NewRequestWithContext(p.ctx, method, p.url.String(), strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header = p.header.Clone()
	resp, err := p.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = &DialError{Status: resp.StatusCode, Message: strings.TrimSpace(string(data))}
	}
	return data, err
}

const separator = "\x1e"

func (p *polling) read() ([]frame, error) {
	body, err := p.do(http.MethodGet, "")
	if err != nil {
		return nil, err
	}
	var frames []frame
	for part := range bytes.SplitSeq(body, []byte(separator)) {
		f := frame{data: part}
		if len(part) > 0 && part[0] == 'b' {
			f.binary = true
			if f.data, err = base64.StdEncoding.DecodeString(string(part[1:])); err != nil {
				return nil, err
			}
		}
		if len(part) > 0 && part[0] == '0' {
			p.opened(part[1:])
		}
		frames = append(frames, f)
	}
	return frames, nil
}

// opened adds the session's id to the URL.
func (p *polling) opened(data []byte) {
	var open struct{ Sid string }
	_ = json.Unmarshal(data, &open)
	q := p.url.Query()
	q.Set("sid", open.Sid)
	p.url.RawQuery = q.Encode()
}

func (p *polling) write(frames []frame) error {
	parts := make([]string, len(frames))
	for i, f := range frames {
		if parts[i] = string(f.data); f.binary {
			parts[i] = "b" + base64.StdEncoding.EncodeToString(f.data)
		}
	}
	_, err := p.do(http.MethodPost, strings.Join(parts, separator))
	return err
}

func (p *polling) bye() { _ = p.write([]frame{{data: []byte("1")}}) }

func (p *polling) close() {
	p.cancel()
	p.http.CloseIdleConnections()
}
