package chat

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/parleychat/chat/internal/socketio"
)

// Questions are JSON: a name, a line end, and what is asked.

const askWithin = 5 * time.Second // where ctx has no deadline

func (n *nodes) newQuestions() map[string]func(context.Context, []byte) (any, error) {
	return map[string]func(context.Context, []byte) (any, error){
		"clients": question(n.answerClients),
		"rooms":   question(n.answerRooms),
		"call":    question(n.answerCall),
		"session": question(n.answerSession),
		"release": question(n.answerRelease),
	}
}

// question makes a handler of a typed one.
func question[Q, A any](f func(context.Context, Q) (A, error)) func(context.Context, []byte) (any, error) {
	return func(ctx context.Context, body []byte) (any, error) {
		var q Q
		if err := json.Unmarshal(body, &q); err != nil {
			return nil, errNotice
		}
		return f(ctx, q)
	}
}

// Answer implements ClusterHandler.
func (n *nodes) Answer(ctx context.Context, asked []byte) ([]byte, error) {
	if !n.hub.handlers.enter() {
		return nil, ErrClosed
	}
	defer n.hub.handlers.leave()
	name, body, ok := cutLine(asked)
	f := n.questions[name]
	if !ok || f == nil {
		return nil, errNotice
	}
	a, err := f(ctx, body)
	if err != nil {
		return nil, err
	}
	return json.Marshal(a)
}

func cutLine(b []byte) (line string, rest []byte, ok bool) {
	i := slices.Index(b, '\n')
	if i < 0 {
		return "", nil, false
	}
	return string(b[:i]), b[i+1:], true
}

// ask asks one node.
func ask[A any](ctx context.Context, n *nodes, tag, name string, q any) (a A, err error) {
	body, err := json.Marshal(q)
	if err != nil {
		return a, err
	}
	var answer []byte
	err = n.call(ctx, func(ctx context.Context) (err error) {
		answer, err = n.of.Ask(ctx, tag, append([]byte(name+"\n"), body...))
		return err
	})
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(answer, &a)
}

// askAll asks all other nodes at once, and gathers what those answered that did. The error names the others.
func askAll[A any](ctx context.Context, n *nodes, name string, q any) ([]A, error) {
	if n == nil {
		return nil, nil
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, askWithin)
		defer cancel()
	}
	tags := n.others()
	answers, errs := make([]A, len(tags)), make([]error, len(tags))
	var wg sync.WaitGroup
	for i, tag := range tags {
		wg.Go(func() { answers[i], errs[i] = ask[A](ctx, n, tag, name, q) })
	}
	wg.Wait()
	var silent NodesError
	got := answers[:0]
	for i, err := range errs {
		if err == nil {
			got = append(got, answers[i])
			continue
		}
		silent.Nodes, silent.Err = append(silent.Nodes, tags[i]), err
	}
	if since, away := n.isAway(); away { // there may be others
		silent.Err = fmt.Errorf("the cluster is away since %v", since.Format(time.RFC3339))
	}
	if silent.Err != nil {
		return got, &silent
	}
	return got, nil
}

// audienceJSON is an audience in a question.
type audienceJSON struct {
	None                           bool     `json:",omitempty"`
	Rooms, Users, Clients          []string `json:",omitempty"`
	NotRooms, NotUsers, NotClients []string `json:",omitempty"`
}

func (a *audience) forQuestion() audienceJSON {
	return audienceJSON{a.none, a.rooms, a.users, a.clients, a.notRooms, a.notUsers, a.notClients}
}

func (a *audienceJSON) audience() audience {
	return audience{a.None, a.Rooms, a.Users, a.Clients, a.NotRooms, a.NotUsers, a.NotClients}
}

// targetQuestion asks about a target's clients.
type targetQuestion struct {
	Space string
	To    audienceJSON
}

func (q *targetQuestion) target(n *nodes) (Target, error) {
	sp := n.hub.spaces[q.Space]
	if sp == nil {
		return Target{}, Errorf(NotFound, "no such namespace")
	}
	return Target{space: sp, to: q.To.audience()}, nil
}

func (n *nodes) answerClients(_ context.Context, q targetQuestion) ([]ClientInfo, error) {
	t, err := q.target(n)
	if err != nil {
		return nil, err
	}
	return t.infos(), nil
}

func (n *nodes) answerRooms(_ context.Context, q targetQuestion) ([]string, error) {
	t, err := q.target(n)
	if err != nil {
		return nil, err
	}
	return t.space.roomNames(), nil
}

// callQuestion has a target's clients called.
type callQuestion struct {
	targetQuestion
	argsJSON
	Event  string
	Within time.Duration
}

// argsJSON are an event's arguments in a question or an answer.
type argsJSON struct {
	JSON        json.RawMessage // an array
	Attachments [][]byte        `json:",omitempty"`
}

func newArgsJSON(enc socketio.Encoded) argsJSON {
	return argsJSON{slices.Concat([]byte("["), enc.JSON, []byte("]")), enc.Attachments}
}

func (a *argsJSON) encoded() (enc socketio.Encoded, ok bool) {
	if len(a.JSON) < 2 || a.JSON[0] != '[' {
		return enc, false
	}
	return socketio.Encoded{JSON: a.JSON[1 : len(a.JSON)-1], Attachments: a.Attachments}, true
}

// rawReply is what one client has answered.
type rawReply struct {
	Client string
	Args   socketio.Args
	Err    string
	Left   bool  // ErrDisconnected
	err    error // of both
}

func (n *nodes) answerCall(ctx context.Context, q callQuestion) ([]rawReply, error) {
	t, err := q.target(n)
	if err != nil {
		return nil, err
	}
	enc, ok := q.encoded()
	if !ok {
		return nil, errNotice
	}
	ctx, cancel := context.WithTimeout(ctx, q.Within)
	defer cancel()
	replies := t.callHere(ctx, q.Event, enc)
	for i := range replies {
		if r := &replies[i]; r.err != nil {
			r.Err, r.Left = r.err.Error(), r.err == ErrDisconnected
		}
	}
	return replies, nil
}
