// Package forward passes polling requests and WebSockets on to the node of a cluster that has their session.
package forward

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parleychat/chat/internal/engineio"
)

const (
	dialWithin = time.Second
	// idleMost and idleFor bound the connections to a node that wait for the next request. The other node's server may close one at the same moment
	// as a POST is sent on it, which ends the session: so they go before any server's timeout comes.
	idleMost = 256
	idleFor  = 3 * time.Second
)

var (
	// ErrClosed: this node passes nothing on any more.
	ErrClosed = errors.New("forward: closed")
	// ErrGone: the other node has left the cluster.
	ErrGone = errors.New("forward: the node is gone")
)

// A Config sets up a Forwarder.
type Config struct {
	Tag    string // of this node
	Key    []byte // that all nodes have
	Client func(*http.Request) string
	// Answer is how long the other node may take to begin its answer, Body how long a client may take to send a POST's, Write how long a write to the other end
	// of a WebSocket may take.
	Answer, Body, Write time.Duration
	// Release asks the node of that tag to answer the GET that waits for a session; it does not wait itself.
	Release func(tag, sid string)
	// Failed answers a request that could not be passed on: with ErrClosed, ErrGone, or what went wrong.
	Failed func(w http.ResponseWriter, r *http.Request, err error)
	Logger *slog.Logger
}

// A Forwarder passes requests on. Its methods may be called from any goroutine.
type Forwarder struct {
	cfg       Config
	transport *http.Transport
	dialer    net.Dialer
	tls       *tls.Config // nil: the system's
	passed    atomic.Int64
	failed    atomic.Int64
	forged    atomic.Int64

	mu      sync.Mutex // guards what follows
	flights map[string]map[*flight]struct{}
	n       int
	closed  bool
	idle    chan struct{} // closed when n is 0; nil: nobody waits
}

// A flight is what is under way to a node. The Forwarder's mu guards it.
type flight struct {
	cut    func(error)
	why    error  // it was cut
	poll   string // the session whose GET it is; empty: it is something else
	tunnel bool
}

// New makes a Forwarder. Close ends it.
func New(cfg Config) *Forwarder {
	f := &Forwarder{cfg: cfg, dialer: net.Dialer{Timeout: dialWithin}, flights: map[string]map[*flight]struct{}{}}
	f.transport = &http.Transport{
		DialContext: f.dialer.DialContext, TLSHandshakeTimeout: dialWithin,
		TLSNextProto:       map[string]func(string, *tls.Conn) http.RoundTripper{}, // HTTP/1.1: a poll would hold up others' uploads on a shared connection
		DisableCompression: true, MaxIdleConnsPerHost: idleMost, IdleConnTimeout: idleFor, ResponseHeaderTimeout: cfg.Answer,
	}
	return f
}

// Counts are the requests passed on, those of them that failed, and those that claimed in vain to be passed on by a node.
func (f *Forwarder) Counts() (passed, failed, forged int64) {
	return f.passed.Load(), f.failed.Load(), f.forged.Load()
}

// Verify tells whether a request was passed on by a node, and gives its client's address. The header is gone after it.
func (f *Forwarder) Verify(r *http.Request) (client string, passed bool, err error) {
	values := r.Header[Header]
	if len(values) == 0 {
		return "", false, nil
	}
	r.Header.Del(Header)
	if len(values) > 1 {
		f.forged.Add(1)
		return "", true, ErrProof
	}
	p, err := verify(f.cfg.Key, values[0], r.Method, r.RequestURI, f.cfg.Tag, time.Now())
	if err != nil {
		f.forged.Add(1)
		return "", true, err
	}
	return p.client, true, nil
}

// Serve passes a request on to the node of that tag, at its address. It returns when the answer is written, or a WebSocket's begin.
func (f *Forwarder) Serve(w http.ResponseWriter, r *http.Request, tag, address string) {
	f.passed.Add(1)
	to, err := f.target(r, address)
	if err != nil {
		f.fail(w, r, tag, err)
		return
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	fl := &flight{cut: cancel, tunnel: engineio.WantsWebSocket(r)}
	if r.Method == http.MethodGet && !fl.tunnel {
		fl.poll = engineio.SessionOf(r)
	}
	if !f.begin(tag, fl) {
		cancel(nil)
		f.fail(w, r, tag, ErrClosed)
		return
	}
	r = r.WithContext(ctx)
	if fl.tunnel {
		f.tunnel(w, r, tag, to, fl)
		return
	}
	defer func() { // also when the client is gone in the middle of the answer, which is a panic
		cancel(nil)
		f.end(tag, fl)
	}()
	f.poll(w, r, tag, to)
}

// target is where a request goes: what the client has asked for, whatever the host's mux has cut off of it.
func (f *Forwarder) target(r *http.Request, address string) (*url.URL, error) {
	to, err := url.ParseRequestURI(r.RequestURI)
	if err != nil {
		return nil, err
	}
	node, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	to.Scheme, to.Host, to.User = node.Scheme, node.Host, nil
	return to, nil
}

// prove adds the proof, last: a client's Connection header cannot make it go.
func (f *Forwarder) prove(out, r *http.Request, tag string) {
	p := proof{method: out.Method, target: out.URL.RequestURI(), client: f.cfg.Client(r), from: f.cfg.Tag, to: tag, at: time.Now()}
	out.Header.Set(Header, p.sign(f.cfg.Key))
}

// poll passes on a GET or a POST. Nothing of it is kept: bodies go through as they come.
func (f *Forwarder) poll(w http.ResponseWriter, r *http.Request, tag string, to *url.URL) {
	if within := f.freeDeadlines(w, r); within > 0 {
		t := time.AfterFunc(within, func() { f.cfg.Release(tag, engineio.SessionOf(r)) })
		defer t.Stop()
	}
	proxy := httputil.ReverseProxy{
		Transport: f.transport, BufferPool: buffers{}, ErrorLog: slog.NewLogLogger(f.cfg.Logger.Handler(), slog.LevelDebug),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL, p.Out.Host = to, p.In.Host
			for _, name := range forwarding {
				if v, ok := p.In.Header[name]; ok {
					p.Out.Header[name] = v
				}
			}
			if w.Header().Get("Content-Encoding") != "" { // a middleware compresses what it is given
				p.Out.Header.Del("Accept-Encoding")
			}
			f.prove(p.Out, r, tag)
		},
		// What both nodes' middleware says is said once, and by the one whose answer it is.
		ModifyResponse: func(res *http.Response) error {
			h := w.Header()
			for name := range res.Header {
				if name != "Vary" {
					h.Del(name)
				}
			}
			if h.Get("Content-Encoding") != "" {
				res.Header.Del("Content-Length")
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) { f.fail(w, r, tag, err) },
	}
	proxy.ServeHTTP(w, r)
}

// forwarding are the headers that ReverseProxy takes for its own to set.
var forwarding = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"}

// freeDeadlines: the host's are for its ordinary requests. The other node bounds the wait by the session's heartbeat, and writes by its own deadline. Where a
// middleware hides the deadlines of a GET it gives the time in which to answer it.
func (f *Forwarder) freeDeadlines(w http.ResponseWriter, r *http.Request) (within time.Duration) {
	rc := http.NewResponseController(w)
	write := rc.SetWriteDeadline(time.Time{})
	if r.Method != http.MethodGet {
		engineio.BoundBody(rc, r, f.cfg.Body)
		return 0
	}
	if errors.Join(write, rc.SetReadDeadline(time.Time{})) != nil {
		return engineio.HostLimit(r)
	}
	return 0
}

// fail answers a request that was not passed on, or not answered.
func (f *Forwarder) fail(w http.ResponseWriter, r *http.Request, tag string, err error) {
	if cause := context.Cause(r.Context()); errors.Is(cause, ErrGone) || errors.Is(cause, ErrClosed) {
		err = cause
	} else if cause != nil {
		return // the client is gone
	}
	f.failed.Add(1)
	f.cfg.Logger.LogAttrs(r.Context(), slog.LevelDebug, "chat: not passed on", slog.String("node", tag), slog.Any("error", err))
	f.cfg.Failed(w, r, err)
}

func (f *Forwarder) begin(tag string, fl *flight) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	if f.flights[tag] == nil {
		f.flights[tag] = map[*flight]struct{}{}
	}
	f.flights[tag][fl] = struct{}{}
	f.n++
	return true
}

func (f *Forwarder) end(tag string, fl *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.flights[tag], fl)
	if len(f.flights[tag]) == 0 {
		delete(f.flights, tag)
	}
	if f.n--; f.n == 0 && f.idle != nil {
		close(f.idle)
		f.idle = nil
	}
}

// recut changes how a flight is cut.
func (f *Forwarder) recut(fl *flight, cut func(error)) {
	f.mu.Lock()
	fl.cut = cut
	why := fl.why
	f.mu.Unlock()
	if why != nil {
		cut(why)
	}
}

// Cut ends what is under way to a node that is gone.
func (f *Forwarder) Cut(tag string) { f.cutAll(ErrGone, tag) }

func (f *Forwarder) cutAll(why error, tags ...string) {
	var all []*flight
	f.mu.Lock()
	for _, tag := range tags {
		all = slices.AppendSeq(all, maps.Keys(f.flights[tag]))
	}
	f.mu.Unlock()
	f.cutThese(why, all...)
}

func (f *Forwarder) cutThese(why error, all ...*flight) {
	for _, fl := range all {
		f.mu.Lock()
		fl.why = why
		cut := fl.cut
		f.mu.Unlock()
		cut(why)
	}
}

// Polls are the sessions whose GETs wait at other nodes, by the tags of those.
func (f *Forwarder) Polls() map[string][]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	polls := map[string][]string{}
	for tag, flights := range f.flights {
		for fl := range flights {
			if fl.poll != "" {
				polls[tag] = append(polls[tag], fl.poll)
			}
		}
	}
	return polls
}

// Tunnels are the WebSockets that are passed on: what cuts each of them.
func (f *Forwarder) Tunnels() (cuts []func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, flights := range f.flights {
		for fl := range flights {
			if fl.tunnel {
				cuts = append(cuts, func() { f.cutThese(ErrClosed, fl) })
			}
		}
	}
	return cuts
}

// Close ends all that is under way, and waits for its end (true), or for done (false). It may be called again.
func (f *Forwarder) Close(done <-chan struct{}) bool {
	f.mu.Lock()
	f.closed = true
	tags := slices.Collect(maps.Keys(f.flights))
	idle := make(chan struct{})
	switch {
	case f.n == 0:
		close(idle)
	case f.idle != nil:
		idle = f.idle
	default:
		f.idle = idle
	}
	f.mu.Unlock()
	f.cutAll(ErrClosed, tags...)
	defer f.transport.CloseIdleConnections()
	select {
	case <-idle:
		return true
	case <-done:
		return false
	}
}

// buffers are those of the bodies' copies.
type buffers struct{}

const bufferSize = 8 << 10

var bufferPool = sync.Pool{New: func() any { return new([bufferSize]byte) }}

func (buffers) Get() []byte  { return bufferPool.Get().(*[bufferSize]byte)[:] }
func (buffers) Put(b []byte) { bufferPool.Put((*[bufferSize]byte)(b)) }
