package forward

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"time"
)

// Header has the proof that a request was passed on by a node.
const Header = "X-Chat-Forwarded"

// clockSkew is how far the clocks of two nodes may be apart, the way of the request included.
const clockSkew = time.Minute

var (
	// ErrProof is a proof that is none.
	ErrProof = errors.New("forward: not passed on by a node")
	// ErrStale is a proof of another time.
	ErrStale = errors.New("forward: passed on at another time, or the clocks differ")
	// ErrOtherNode is a proof for another node: one that had this address before, if nobody replays it.
	ErrOtherNode = errors.New("forward: passed on to another node")
)

// A proof says who passes what on, whose it is, to whom and when. It holds for nothing else.
type proof struct {
	method, target string // of the request
	client         string // its client's address
	from, to       string // tags
	at             time.Time
}

const (
	proofVersion = "1"
	proofParts   = 6
	proofMost    = 1024 // bytes; a client's address is at most the path of a Unix socket
)

// sign makes the header's value: what the request does not say itself, and the code over all of it.
func (p *proof) sign(key []byte) string {
	b64 := base64.RawURLEncoding
	return strings.Join([]string{
		proofVersion, p.from, p.to, strconv.FormatInt(p.at.Unix(), 10), b64.EncodeToString([]byte(p.client)), b64.EncodeToString(p.code(key)),
	}, ".")
}

// code is over the parts with their lengths: no part can pass for two.
func (p *proof) code(key []byte) []byte {
	mac := hmac.New(sha256.New, key)
	var b []byte
	for _, part := range []string{"chat forward " + proofVersion, p.method, p.target, p.client, p.from, p.to} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(p.at.Unix()))
	_, _ = mac.Write(b) // never fails
	return mac.Sum(nil)
}

// verify reads the header's value, for a request of that method and target that has come to node to at now.
func verify(key []byte, value, method, target, to string, now time.Time) (*proof, error) {
	p, code, ok := parseProof(value)
	if !ok {
		return nil, ErrProof
	}
	p.method, p.target = method, target
	switch {
	case !hmac.Equal(code, p.code(key)):
		return nil, ErrProof
	case p.at.Before(now.Add(-clockSkew)) || p.at.After(now.Add(clockSkew)):
		return nil, ErrStale
	case p.to != to:
		return nil, ErrOtherNode
	}
	return p, nil
}

func parseProof(value string) (p *proof, code []byte, ok bool) {
	if len(value) > proofMost {
		return nil, nil, false
	}
	parts := strings.Split(value, ".")
	if len(parts) != proofParts || parts[0] != proofVersion {
		return nil, nil, false
	}
	at, err := strconv.ParseInt(parts[3], 10, 64)
	client, err2 := base64.RawURLEncoding.DecodeString(parts[4])
	code, err3 := base64.RawURLEncoding.DecodeString(parts[5])
	if errors.Join(err, err2, err3) != nil {
		return nil, nil, false
	}
	return &proof{client: string(client), from: parts[1], to: parts[2], at: time.Unix(at, 0)}, code, true
}
