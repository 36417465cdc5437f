package faults_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf16"
)

// A pollWire is a polling client.
type pollWire struct {
	p      protocol
	base   string
	sid    atomic.Value
	paused atomic.Bool
	http   http.Client
	ctx    context.Context
	cancel context.CancelFunc
}

func newPollWire(addr string, p protocol) *pollWire {
	w := &pollWire{p: p, base: "http://" + addr + "/socket.io/?" + p.query() + "&transport=polling"}
	if p == legacy {
		w.base += "&b64=1" // text framing alone
	}
	w.sid.Store("")
	// A connection that this client keeps open would count as the server's goroutines.
	w.http.Transport = &http.Transport{DisableCompression: true, IdleConnTimeout: time.Second}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

func (w *pollWire) url() string {
	if sid := w.sid.Load().(string); sid != "" {
		return w.base + "&sid=" + sid
	}
	return w.base
}

// do sends one request.
func (w *pollWire) do(method, url, contentType string, body io.Reader) (status int, answer string, err error) {
	r, err := http.NewRequestWithContext(w.ctx, method, url, body)
	if err != nil {
		return 0, "", err
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	resp, err := w.http.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(data), err
}

func (w *pollWire) post(body string) (status int, answer string, err error) {
	return w.do(http.MethodPost, w.url(), "text/plain;charset=UTF-8", strings.NewReader(body))
}

func (w *pollWire) write(frames ...frame) (int, error) {
	status, _, err := w.post(encodePayload(w.p, frames))
	return status, err
}

var errPaused = errors.New("paused")

// pause makes the read that is under way the last.
func (w *pollWire) pause() { w.paused.Store(true) }

func (w *pollWire) read() ([]frame, error) {
	if w.paused.Load() {
		return nil, errPaused
	}
	status, answer, err := w.do(http.MethodGet, w.url(), "", nil)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("status %d: %s", status, answer)
	}
	frames, err := decodePayload(w.p, answer)
	if err != nil {
		return nil, err
	}
	for _, f := range frames {
		switch {
		case strings.HasPrefix(f.data, "0{"):
			w.sid.Store(sidOf(f.data))
		case f.data == "1" && !f.binary:
			return frames, errors.New("close packet")
		}
	}
	return frames, nil
}

// close leaves. To cancel a GET would do if there were sure to be one just then.
func (w *pollWire) close() {
	_, _ = w.write(text4("1"))
	w.cancel()
	w.http.CloseIdleConnections()
}

const separator = "\x1e"

func encodePayload(p protocol, frames []frame) string {
	parts := make([]string, len(frames))
	for i, f := range frames {
		switch {
		case !f.binary:
			parts[i] = f.data
		case p == legacy:
			parts[i] = "b4" + base64.StdEncoding.EncodeToString([]byte(f.data))
		default:
			parts[i] = "b" + base64.StdEncoding.EncodeToString([]byte(f.data))
		}
		if p == legacy {
			parts[i] = strconv.Itoa(len(utf16.Encode([]rune(parts[i])))) + ":" + parts[i]
		}
	}
	if p == legacy {
		return strings.Join(parts, "")
	}
	return strings.Join(parts, separator)
}

func decodePayload(p protocol, body string) (frames []frame, err error) {
	prefix := "b"
	var parts []string
	if p == modern {
		parts = strings.Split(body, separator)
	} else {
		prefix = "b4"
		if parts, err = splitLengths(body); err != nil {
			return nil, err
		}
	}
	for _, part := range parts {
		f := frame{data: part}
		if code, ok := strings.CutPrefix(part, prefix); ok {
			data, err := base64.StdEncoding.DecodeString(code)
			if err != nil {
				return nil, err
			}
			f = frame{binary: true, data: string(data)}
		}
		frames = append(frames, f)
	}
	return frames, nil
}

// splitLengths takes a payload of Engine.IO 3 apart, whose lengths are in UTF-16 units.
func splitLengths(body string) (parts []string, err error) {
	units := utf16.Encode([]rune(body))
	for len(units) > 0 {
		text := string(utf16.Decode(units[:min(len(units), 12)]))
		digits, _, ok := strings.Cut(text, ":")
		n, err := strconv.Atoi(digits)
		start := len(digits) + 1
		if !ok || err != nil || start+n > len(units) {
			return nil, fmt.Errorf("payload %.200q", body)
		}
		parts = append(parts, string(utf16.Decode(units[start:start+n])))
		units = units[start+n:]
	}
	return parts, nil
}
