package chattest

import (
	"net/http"
	"net/url"
	"time"
)

// An Option sets something of a connection.
type Option interface{ apply(*options) }

type options struct {
	namespace   string
	auth        any
	header      http.Header
	query       url.Values
	polling     bool
	pid, offset string
	remoteAddr  string
	timeout     time.Duration
}

type optionFunc func(*options)

func (f optionFunc) apply(o *options) { f(o) }

func newOptions(opts []Option) options {
	o := options{namespace: "/", header: http.Header{}, query: url.Values{}, remoteAddr: "192.0.2.1:1234", timeout: 5 * time.Second}
	for _, opt := range opts {
		opt.apply(&o)
	}
	return o
}

// Namespace connects to a namespace other than "/".
func Namespace(name string) Option { return optionFunc(func(o *options) { o.namespace = name }) }

// Auth is the auth object: anything that becomes a JSON object. Default: none is sent.
func Auth(v any) Option { return optionFunc(func(o *options) { o.auth = v }) }

// Header adds a header to the HTTP requests, such as Origin, which is not sent otherwise: http://chat.test is
// the same origin.
func Header(key, value string) Option {
	return optionFunc(func(o *options) { o.header.Add(key, value) })
}

// Query adds a parameter to the URL.
func Query(key, value string) Option { return optionFunc(func(o *options) { o.query.Add(key, value) }) }

// Polling connects by long polling, and stays there. Default: WebSocket.
func Polling() Option { return optionFunc(func(o *options) { o.polling = true }) }

// Recover asks for connection state recovery with what another client had: see Client.Reconnect for the usual way.
func Recover(pid, offset string) Option {
	return optionFunc(func(o *options) { o.pid, o.offset = pid, offset })
}

// RemoteAddr is the address, host:port, that the server sees. Default: 192.0.2.1:1234.
func RemoteAddr(addr string) Option { return optionFunc(func(o *options) { o.remoteAddr = addr }) }

// Timeout bounds each wait. Default: 5 seconds.
func Timeout(d time.Duration) Option { return optionFunc(func(o *options) { o.timeout = d }) }
