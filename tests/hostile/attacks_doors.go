package main

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gobwas/ws"
)

// doors are attacks on the way in, and on the way of what is too large.
var doors = []attack{
	{name: "refusals", what: "CONNECTs that are refused, one of each kind after the other", must: []string{"revoke: ok"}, inTime: refused(), never: takenIn(), run: refusals},
	{name: "connect flood", what: "CONNECTs from one address, with good, bad and no tokens, as fast as 32 connections can, and another address in each X-Forwarded-For",
		must: []string{"CONNECT RATE_LIMITED", "handshake 429"}, run: func(w *world) {
			w.crowd(w.size(32), 2*time.Millisecond, func(i int) {
				c, err := w.dial(w.address(0))
				if err != nil {
					return
				}
				defer c.Close()
				s, err := openWebSocket(c, w.addr+fmt.Sprintf("\r\nX-Forwarded-For: 198.51.100.%d", w.next.Add(1)%250), "")
				w.answered("handshake", err, "opened")
				if err == nil {
					w.answered("CONNECT", s.join([]string{authOf(w.user()), tokenAuth(foreign), ""}[i%3]), "joined")
				}
			})
		}},
	{name: "come and go", what: "members of 100 addresses, each time another user, who come and go at once", must: []string{"joined"}, run: func(w *world) {
		w.crowd(w.size(16), 5*time.Millisecond, func(i int) {
			if c := w.member(int(w.next.Load())%100, authOf(w.user())); c != nil {
				if i%2 == 0 {
					_ = c.text("41")
				}
				_ = c.Close()
			}
		})
	}},
	{name: "recoveries", what: "CONNECTs with pids and offsets that were never given out", must: []string{"joined"}, run: func(w *world) {
		w.crowd(w.size(16), 5*time.Millisecond, func(int) {
			n := w.next.Add(1)
			auth := fmt.Sprintf(`{"token":"%s","pid":"AAAAAAAAAAAAAAA%05d","offset":"x%d"}`, sign(goodClaims(fmt.Sprintf("lost-%d", n%50)), "HS256", secret), n%100_000, n)
			if c := w.member(int(n)%100, auth); c != nil {
				_ = c.Close()
			}
		})
	}},
	{name: "too large", what: "messages and POSTs of 1.2 MB, frames that announce 2^40 bytes, parts without end, deep JSON", must: []string{"error TOO_LARGE", "close frame 1009", "POST 413"}, run: tooLarge},
	{name: "REST", what: "POST /api/broadcast and GET /api/rooms without a token, and with bad ones", must: []string{"API 401"}, run: func(w *world) {
		w.crowd(8, time.Millisecond, func(i int) {
			c, err := w.dial(w.address(i))
			if err != nil {
				return
			}
			defer c.Close()
			in := newReader(c)
			for n := range 50 {
				target := []string{"POST /api/broadcast?message=hi", "GET /api/rooms"}[n%2]
				w.answered("API", w.api(c, in, target, []string{"", "x", foreign}[n%3]), "API 200")
			}
		})
	}},
}

// api asks the REST API on a connection that is kept.
func (w *world) api(c net.Conn, in *bufio.Reader, target, token string) error {
	_ = c.SetDeadline(time.Now().Add(patience))
	method, path, _ := strings.Cut(target, " ")
	if _, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Length: 0\r\n\r\n", method, path, w.addr, token); err != nil {
		return err
	}
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return refusedBy(res)
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

// with is a good token's claims, changed; nil takes one away.
func with(user string, change claims) claims {
	c := goodClaims(user)
	for k, v := range change {
		if v == nil {
			delete(c, k)
		} else {
			c[k] = v
		}
	}
	return c
}

// refusedAuths are CONNECTs that must be refused, by what is wrong with them.
func refusedAuths() map[string]string {
	signed := func(change claims) string { return tokenAuth(sign(with("attacker", change), "HS256", secret)) }
	now := time.Now().Unix()
	good := sign(goodClaims("attacker"), "HS256", secret)
	return map[string]string{
		"no token": "", "an empty token": tokenAuth(""), "garbage": tokenAuth("x.y.z"), "a token that is a number": `{"token":7}`, "no object": `"token"`,
		"expired": signed(claims{"exp": now - 3600}), "not yet": signed(claims{"nbf": now + 3600}), "no end": signed(claims{"exp": nil}), "issued tomorrow": signed(claims{"iat": now + 86400}),
		"another's key": tokenAuth(foreign), "alg none": tokenAuth(sign(goodClaims("attacker"), "none", "")), "alg HS512": tokenAuth(sign(goodClaims("attacker"), "HS512", secret)),
		"another issuer": signed(claims{"iss": "https://elsewhere.example"}), "no issuer": signed(claims{"iss": nil}), "no subject": signed(claims{"sub": nil}),
		"a subject that is a list": signed(claims{"sub": []string{"a"}}), "an anonymous user's subject": signed(claims{"sub": "anon:x"}), "a changed claim": tokenAuth(strings.Replace(good, ".", ".eyJzdWIiOiJyb290In0", 1)),
		"a revoked token":   signed(claims{"jti": revokedID}),
		"a token of 100 KB": tokenAuth(sign(with("attacker", claims{"x": strings.Repeat("x", 75_000)}), "HS256", "another")),
	}
}

// refused are the answers to them, one for each.
func refused() (all []string) {
	others := map[string]string{"a token that is a number": "INVALID_PAYLOAD", "no object": "closed: 1002", "expired": "TOKEN_EXPIRED"}
	for name := range refusedAuths() {
		all = append(all, name+": "+cmp.Or(others[name], "UNAUTHORIZED"))
	}
	return all
}

// takenIn are the answers that none of them may get.
func takenIn() (all []string) {
	for name := range refusedAuths() {
		all = append(all, name+": "+outcomeOf(nil))
	}
	return all
}

// revokedID is of tokens that are good but for the administrator's word.
const revokedID = "revoked"

// revokes comes in with such a token, and has it revoked.
func (w *world) revokes() {
	if in := w.webSocket(4, ""); in != nil && in.join(tokenAuth(sign(with("revoked", claims{"jti": revokedID}), "HS256", secret))) == nil { // which it refuses the second time
		w.go1(func() { w.answers(in) })
	}
	c, err := w.dial(w.address(4))
	if err != nil {
		return
	}
	defer c.Close()
	err = w.api(c, newReader(c), "POST /api/revoke?token="+revokedID, sign(with("administrator", claims{"roles": []string{"admin"}}), "HS256", secret))
	w.count("revoke: " + outcomeOf(err))
}

// refusals meets each way to be refused, at a pace below that of the rates.
func refusals(w *world) {
	w.revokes()
	w.go1(func() { w.tokenEnds() })
	w.go1(func() { w.tooMany() })
	w.go1(func() { w.refreshes() })
	auths := refusedAuths()
	w.crowd(8, 50*time.Millisecond, func(int) {
		for name, auth := range auths {
			if c := w.webSocket(int(w.next.Add(1)), ""); c != nil {
				err := c.join(auth)
				if w.Err() == nil {
					w.count(name + ": " + outcomeOf(err))
				}
				_ = c.Close()
			}
			w.sleep(50 * time.Millisecond)
		}
	})
}

// tokenEnds comes in with a token that has ended, and is good for 2 s more by the verifier's leeway of 30 s.
func (w *world) tokenEnds() {
	c := w.member(1, tokenAuth(sign(with("ends", claims{"iat": time.Now().Unix() - 60, "exp": time.Now().Unix() - 28}), "HS256", secret)))
	if c != nil {
		defer c.Close()
		w.answers(c)
	}
}

// tooMany comes in as one user with one client more than a user may have.
func (w *world) tooMany() {
	for range 21 {
		if c := w.webSocket(2, ""); c != nil {
			err := c.join(authOf("many"))
			w.count("a user's clients: " + outcomeOf(err))
		}
	}
}

// refreshes asks for each refusal of refresh_auth.
func (w *world) refreshes() {
	c := w.member(3, authOf("refreshing"))
	if c == nil {
		return
	}
	w.go1(func() { w.answers(c) })
	now := time.Now().Unix()
	for i, token := range []string{"", "x", foreign, sign(goodClaims("another"), "HS256", secret), sign(with("refreshing", claims{"exp": now - 3600}), "HS256", secret)} {
		_ = c.text(fmt.Sprintf(`42%d["refresh_auth",%s]`, i, tokenAuth(token))) // which fails when it is over
		w.sleep(100 * time.Millisecond)
	}
}

// tooLarge sends what is too large in each way that there is.
func tooLarge(w *world) {
	big := strings.Repeat("x", 1_200_000)
	ways := []func() []byte{
		func() []byte { return appendFrame(nil, ws.OpText, []byte(`42["chat_message","`+big+`"]`)) },
		func() []byte { // 2^40 bytes are announced (RFC 6455, section 5.2)
			return append([]byte{0x81, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4}, big[:1000]...)
		},
		func() []byte { // a text in parts: the first, and then ever more
			part := appendFrame(nil, ws.OpText, []byte(big[:40_000]))
			part[0] &^= 0x80
			more := appendFrame(nil, ws.OpContinuation, []byte(big[:40_000]))
			more[0] &^= 0x80
			return append(part, bytes.Repeat(more, 30)...)
		},
		func() []byte {
			return appendFrame(nil, ws.OpText, []byte(`420["chat_message",`+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)+"]"))
		},
		func() []byte {
			return appendFrame(nil, ws.OpText, []byte(`421["chat_message","`+strings.Repeat("long ", 2_000)+`"]`))
		},
	}
	w.crowd(8, 50*time.Millisecond, func(i int) {
		for _, way := range ways {
			if c := w.member(i, authOf(w.user())); c != nil {
				_, _ = c.Write(way()) // the server may close first
				_ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
				w.answers(c)
				_ = c.Close()
			}
			w.sleep(50 * time.Millisecond)
		}
		if p := w.polling(i, authOf(w.user())); p != nil {
			_, err := p.do("POST", "", []byte(big))
			w.answered("POST", err, "posted")
			_ = p.Close()
		}
	})
}
