package chat_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/chattest"
)

func TestTrustedProxies(t *testing.T) {
	t.Parallel()
	one, all := []string{"10.0.0.1"}, []string{"10.0.0.0/8", "2001:db8:f::/48", "::1", "fe80::/10", "unix"}
	const direct = "192.0.2.1:1234"
	for _, c := range []struct {
		trust     []string
		peer      string
		forwarded []string // headers
		want      string
	}{
		// Nobody is believed who is not trusted, whatever it says.
		{nil, direct, []string{"198.51.100.7"}, direct},
		{one, direct, []string{"198.51.100.7"}, direct},
		{one, direct, []string{"10.0.0.1"}, direct},
		{one, "10.0.0.2:1", []string{"198.51.100.7"}, "10.0.0.2:1"},
		{one, "@", []string{"198.51.100.7"}, "@"},
		{nil, "10.0.0.1:1", []string{"198.51.100.7"}, "10.0.0.1:1"},

		// One proxy: what it has added is last; what its client had written before that counts for nothing.
		{one, "10.0.0.1:1", []string{"198.51.100.7"}, "198.51.100.7"},
		{one, "10.0.0.1:1", nil, "10.0.0.1:1"},
		{one, "10.0.0.1:1", []string{""}, "10.0.0.1:1"},
		{one, "10.0.0.1:1", []string{"1.1.1.1, 198.51.100.7"}, "198.51.100.7"},
		{one, "10.0.0.1:1", []string{"1.1.1.1", "198.51.100.7"}, "198.51.100.7"},
		{one, "10.0.0.1:1", []string{"garbage, ,,,198.51.100.7"}, "198.51.100.7"},
		{one, "[::ffff:10.0.0.1]:1", []string{"198.51.100.7"}, "198.51.100.7"},
		{[]string{"::ffff:10.0.0.1"}, "10.0.0.1:1", []string{"198.51.100.7"}, "198.51.100.7"},

		// A chain, from the right: the first who is no proxy of ours.
		{all, "10.0.0.1:1", []string{"1.1.1.1, 198.51.100.7, 10.9.9.9"}, "198.51.100.7"},
		{all, "10.0.0.1:1", []string{"10.1.1.1, 198.51.100.7", "10.9.9.9,10.8.8.8"}, "198.51.100.7"},
		{all, "10.0.0.1:1", []string{"10.1.1.1,10.2.2.2"}, "10.1.1.1"}, // all are: the farthest
		{all, "10.0.0.1:1", []string{"1.1.1.1, unknown, 10.2.2.2"}, "10.2.2.2"},
		{all, "10.0.0.1:1", []string{"1.1.1.1, 10.2.2.2, unknown"}, "10.0.0.1:1"},
		{all, "10.0.0.1:1", []string{"1.1.1.1; DROP TABLE"}, "10.0.0.1:1"},
		{all, "10.0.0.1:1", []string{"_hidden"}, "10.0.0.1:1"},
		{all, "10.0.0.1:1", []string{strings.Repeat("9", 5000)}, "10.0.0.1:1"},

		// Ports, and IPv6.
		{all, "10.0.0.1:1", []string{"198.51.100.7:4711"}, "198.51.100.7"},
		{all, "10.0.0.1:1", []string{"[2001:db8::7]:4711"}, "2001:db8::7"},
		{all, "10.0.0.1:1", []string{"[2001:db8::7]"}, "2001:db8::7"},
		{all, "10.0.0.1:1", []string{"2001:DB8::0007"}, "2001:db8::7"},
		{all, "10.0.0.1:1", []string{"::ffff:198.51.100.7"}, "198.51.100.7"},
		{all, "10.0.0.1:1", []string{"2001:db8::7, ::ffff:10.3.3.3"}, "2001:db8::7"},
		{all, "[2001:db8:f::9]:443", []string{"2001:db8::7, 2001:db8:f::1"}, "2001:db8::7"},
		{all, "[::1]:443", []string{"198.51.100.7"}, "198.51.100.7"},
		{all, "[fe80::1%eth0]:443", []string{"198.51.100.7"}, "198.51.100.7"},
		{all, "[fe80::1%eth0]:443", []string{"198.51.100.7, fe80::2%eth1"}, "198.51.100.7"},
		{all, "10.0.0.1:1", []string{"2001:db8::7%eth0"}, "2001:db8::7"},

		// A Unix socket.
		{all, "@", []string{"198.51.100.7"}, "198.51.100.7"},
		{all, "", []string{"198.51.100.7"}, "198.51.100.7"},
		{all, "@", nil, "@"},
	} {
		t.Run(fmt.Sprint(c.peer, c.forwarded), func(t *testing.T) {
			t.Parallel()
			for _, transport := range []chattest.Option{chattest.Polling(), chattest.Namespace("/")} {
				got := make(chan string, 1)
				hub := newHub(t, chat.WithTrustedProxies(c.trust...), chat.WithAuth(func(_ context.Context, h *chat.Handshake) (chat.User, error) {
					got <- h.RemoteAddr
					return chat.User{}, nil
				}))
				opts := []chattest.Option{transport, chattest.RemoteAddr(c.peer)}
				for _, f := range c.forwarded {
					opts = append(opts, chattest.Header("X-Forwarded-For", f))
				}
				chattest.Dial(t, hub, opts...)
				if a := <-got; a != c.want {
					t.Errorf("%q, want %q", a, c.want)
				}
			}
		})
	}
}

func TestTrustedProxiesAreValidated(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "localhost", "10.0.0.0/33", "10.0.0", "10.0.0.1:80", "*", "fe80::1%eth0/64", "fe80::1%eth0", "::ffff:10.0.0.0/104"} {
		if _, err := chat.New(chat.WithTrustedProxies("10.0.0.1", bad)); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("WithTrustedProxies: %q", bad)) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// Limits of an address count the client's own, and a client cannot choose what they count.
func TestLimitsBehindAProxy(t *testing.T) {
	t.Parallel()
	for name, trust := range map[string][]string{"trusted": {"10.0.0.1"}, "not trusted": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var hits atomic.Pointer[chat.LimitHit]
			hub := newHub(t, chat.WithTrustedProxies(trust...), chat.WithLimits(chat.Limits{ClientsPerAddress: 1}), chat.WithObserver(limitFunc(func(h chat.LimitHit) { hits.Store(&h) })))
			via := func(forwarded string) []chattest.Option {
				return []chattest.Option{chattest.RemoteAddr("10.0.0.1:4711"), chattest.Header("X-Forwarded-For", forwarded)}
			}
			chattest.Dial(t, hub, via("198.51.100.7")...)
			_, err := chattest.TryDial(t, hub, via("6.6.6.6, 198.51.100.7")...) // it makes up the first
			wantRefused(t, err, chat.RateLimited)
			want := "198.51.100.7"
			_, other := chattest.TryDial(t, hub, via("198.51.100.8")...)
			if trust == nil {
				wantRefused(t, other, chat.RateLimited)
				want = "10.0.0.1"
			} else if other != nil {
				t.Error(other)
			}
			if h := hits.Load(); h.Address != want || h.Limit != "ClientsPerAddress" {
				t.Errorf("%+v", h)
			}
		})
	}
}

type limitFunc func(chat.LimitHit)

func (f limitFunc) ObserveLimit(_ context.Context, h chat.LimitHit) { f(h) }
