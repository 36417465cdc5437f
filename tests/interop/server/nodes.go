package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/clustertest"
)

// oneStore is a store of all nodes.
type oneStore struct{ chat.Store }

func (oneStore) Shared() bool { return true }

// node is a Hub of a cluster and the server of its own that the others reach it at.
type node struct {
	hub *chat.Hub
	srv *http.Server
	url *url.URL
}

// runNodes serves by several Hubs behind a proxy that gives each request to the next of them, whosever session it is.
func runNodes(f flags, handlers func() []chat.Option) error {
	bus, store := clustertest.NewBus(4), oneStore{chat.NewMemoryStore(0, 0)}
	failed := make(chan error, f.nodes+1)
	var nodes []*node
	for range f.nodes {
		n, err := startNode(append(f.options(), append(handlers(), chat.WithStore(store), chat.WithCluster(bus.Node()))...), failed)
		if err != nil {
			return err
		}
		nodes = append(nodes, n)
	}
	mux := http.NewServeMux()
	mux.Handle("/", inTurn(nodes))
	mux.HandleFunc("GET /forwarded", func(w http.ResponseWriter, _ *http.Request) { tellForwarded(w, nodes) })
	l, err := net.Listen("tcp", f.addr)
	if err != nil {
		return err
	}
	front := &http.Server{Handler: mux}
	go func() { failed <- front.Serve(l) }()
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	fmt.Printf("http://%s\n", l.Addr())
	select {
	case err := <-failed:
		return err
	case <-stop.Done():
	}
	ctx, done := context.WithTimeout(context.Background(), 10*time.Second)
	defer done()
	for _, n := range nodes {
		err = errors.Join(err, n.hub.Shutdown(ctx))
	}
	err = errors.Join(err, front.Shutdown(ctx))
	for _, n := range nodes {
		err = errors.Join(err, n.srv.Shutdown(ctx))
	}
	return err
}

func startNode(opts []chat.Option, failed chan<- error) (*node, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	n := &node{url: &url.URL{Scheme: "http", Host: l.Addr().String()}}
	n.hub, err = chat.New(append(opts, chat.WithNodeAddress(n.url.String(), bytes.Repeat([]byte("node"), 8)))...)
	if err != nil {
		return nil, err
	}
	n.srv = &http.Server{Handler: n.hub, ReadTimeout: 15 * time.Second, WriteTimeout: 15 * time.Second}
	go func() { failed <- n.srv.Serve(l) }()
	return n, nil
}

func inTurn(nodes []*node) http.Handler {
	var turn atomic.Uint64
	return &httputil.ReverseProxy{
		Transport: &http.Transport{MaxIdleConnsPerHost: 100},
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(nodes[turn.Add(1)%uint64(len(nodes))].url)
			p.Out.Host = p.In.Host
		},
	}
}

// tellForwarded says how many requests the nodes have passed on to each other, and how many of them in vain.
func tellForwarded(w http.ResponseWriter, nodes []*node) {
	var answer struct {
		Passed int64 `json:"passed"`
		Failed int64 `json:"failed"`
	}
	for _, n := range nodes {
		s := n.hub.Stats()
		answer.Passed += s.Forwarded
		answer.Failed += s.NotForwarded + s.Forged
	}
	_ = json.NewEncoder(w).Encode(answer) // the test sees a broken answer
}
