package engineio

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Codes of the protocol's error bodies.
const (
	codeUnknownTransport = iota
	codeUnknownSession
	codeBadMethod
	codeBadRequest
	codeForbidden
	codeUnsupportedVersion
)

var (
	errTransport = &Refusal{Status: http.StatusBadRequest, Code: codeUnknownTransport, Message: "Transport unknown"}
	// ErrUnknownSession answers a request of a session that is not known.
	ErrUnknownSession = &Refusal{Status: http.StatusBadRequest, Code: codeUnknownSession, Message: "Session ID unknown"}
	errMethod         = &Refusal{Status: http.StatusBadRequest, Code: codeBadMethod, Message: "Bad handshake method"}
	errBadRequest     = &Refusal{Status: http.StatusBadRequest, Code: codeBadRequest, Message: "Bad request"}
	errVersion        = &Refusal{Status: http.StatusBadRequest, Code: codeUnsupportedVersion, Message: "Unsupported protocol version"}
)

// write answers a request with the refusal.
func (r *Refusal) write(w http.ResponseWriter) {
	body, _ := json.Marshal(struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}{r.Code, r.Message})
	h := w.Header()
	maps.Copy(h, r.Header)
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(r.Status)
	_, _ = w.Write(body)
}

// ServeHTTP answers any request with the refusal.
func (r *Refusal) ServeHTTP(w http.ResponseWriter, _ *http.Request) { r.write(w) }

var gzips = sync.Pool{New: func() any {
	w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	return w
}}

// respond writes a payload as the whole response, and returns when the connection has taken it.
func (srv *Server) respond(w http.ResponseWriter, r *http.Request, rc *http.ResponseController, body []byte, binary bool) error {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	if binary {
		h.Set("Content-Type", "application/octet-stream")
	}
	h.Set("Cache-Control", "no-store")
	if from := srv.cfg.GzipFrom; from > 0 && len(body) >= from && takesGzip(r) && !hostCompresses(h) {
		h.Set("Content-Encoding", "gzip")
		h.Add("Vary", "Accept-Encoding")
		body = zip(body)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	// What the response writer cannot do (it may be a middleware's) is done without.
	_ = rc.SetWriteDeadline(time.Now().Add(srv.cfg.WriteTimeout))
	n, err := w.Write(body)
	srv.out.Add(int64(n))
	if err != nil {
		return err
	}
	if err := rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	_ = rc.SetWriteDeadline(time.Time{})
	return nil
}

func zip(body []byte) []byte {
	var b bytes.Buffer
	z := gzips.Get().(*gzip.Writer)
	z.Reset(&b)
	_, _ = z.Write(body)
	_ = z.Close()
	gzips.Put(z)
	return b.Bytes()
}

// hostCompresses tells whether a middleware has announced that it compresses what it is given. Some (echo's) do so
// whatever the response says of itself.
func hostCompresses(h http.Header) bool {
	return h.Get("Content-Encoding") != "" || lists(h.Values("Vary"), "Accept-Encoding")
}

// lists tells whether a name is in a header of names separated by commas.
func lists(values []string, name string) bool {
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(part), name) {
				return true
			}
		}
	}
	return false
}

// takesGzip tells whether the client takes gzip (RFC 9110, section 12.5.3).
func takesGzip(r *http.Request) bool {
	for _, v := range r.Header.Values("Accept-Encoding") {
		for part := range strings.SplitSeq(v, ",") {
			name, q, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(name), "gzip") && strings.ReplaceAll(q, " ", "") != "q=0" {
				return true
			}
		}
	}
	return false
}
