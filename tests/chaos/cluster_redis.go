package main

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/parleychat/chat/internal/redistest"
)

// A redisStack is the Redis of a cluster.
type redisStack interface {
	url(node int) string // REDIS_URL for a node
	do(h harm) error
	close() error
}

// openRedis knows single, sentinel and cluster.
func openRedis(kind string) (redisStack, error) {
	switch kind {
	case "single":
		return startSingle()
	case "sentinel":
		s, err := redistest.StartSentinel("appendonly yes", "appendfsync everysec")
		if err != nil {
			return nil, err
		}
		return &sentinels{s}, nil
	case "cluster":
		c, err := redistest.StartCluster() // without a file: a master that comes back has nothing of its third
		if err != nil {
			return nil, err
		}
		return &shards{c}, nil
	}
	return nil, fmt.Errorf("there is no Redis %q", kind)
}

// single is one server, which each node reaches over a proxy of its own.
type single struct {
	s     *redistest.Server
	gates []*gate
	mu    sync.Mutex // one restart at a time
}

func startSingle() (redisStack, error) {
	s, err := redistest.Start("appendonly yes", "appendfsync everysec")
	if err != nil {
		return nil, err
	}
	one := &single{s: s}
	for range clusterNodes {
		g, err := newGate(s.Addr())
		if err != nil {
			return nil, errors.Join(err, one.close())
		}
		one.gates = append(one.gates, g)
	}
	return one, nil
}

func (s *single) url(node int) string { return "redis://" + s.gates[node].addr() }

func (s *single) do(h harm) error {
	switch h.kind {
	case cutRedis:
		g := s.gates[h.node]
		g.refuse(true)
		g.cut(func() cutKind { return reset })
		time.Sleep(h.lasts)
		g.refuse(false)
		return nil
	case stallRedis:
		g := s.gates[h.node]
		g.stall(toServer, toClient)
		time.Sleep(h.lasts)
		g.flows()
		return nil
	case stopRedis, crashRedis, emptyRedis:
		return s.restart(h)
	}
	return errors.New("one Redis cannot do that")
}

func (s *single) restart(h harm) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.kind == emptyRedis {
		if _, err := s.s.Do("FLUSHALL"); err != nil {
			return err
		}
	}
	end := s.s.Kill
	if h.kind == stopRedis {
		end = s.s.Stop
	}
	if err := end(); err != nil {
		return err
	}
	time.Sleep(h.lasts)
	return s.s.Serve()
}

func (s *single) close() error {
	for _, g := range s.gates {
		g.close()
	}
	return s.s.Close()
}

// sentinels replace a master that has ended by its replica.
type sentinels struct{ s *redistest.Sentinel }

func (s *sentinels) url(int) string {
	return severalURL(s.s.Addrs(), url.Values{"master_name": {redistest.Main}})
}

func (s *sentinels) do(h harm) error {
	if h.kind != failRedis {
		return errors.New("this is not of Sentinels")
	}
	old, next := s.s.Primary, s.s.Replica
	at, err := s.master()
	if err != nil {
		return err
	}
	if at == next.Addr() {
		old, next = next, old
	}
	if err := old.Kill(); err != nil {
		return err
	}
	end := time.Now().Add(h.lasts)
	if err := until("another master", func() bool { at, err := s.master(); return err == nil && at == next.Addr() }); err != nil {
		return err
	}
	if h.lasts == 0 {
		return nil
	}
	time.Sleep(time.Until(end))
	if err := old.Serve(); err != nil {
		return err
	}
	return until("the old master follows the new one", func() bool {
		out, err := old.Do("INFO", "replication")
		return err == nil && strings.Contains(out, "master_link_status:up")
	})
}

func (s *sentinels) master() (string, error) {
	out, err := s.s.Guards[0].Do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", redistest.Main)
	return strings.Join(strings.Fields(out), ":"), err
}

func (s *sentinels) close() error { return s.s.Close() }

// shards are a Redis Cluster of three masters without replicas.
type shards struct{ c *redistest.Cluster }

func (s *shards) url(int) string { return severalURL(s.c.Addrs(), url.Values{}) }

func (s *shards) do(h harm) error {
	if h.kind != crashMaster {
		return errors.New("this is not of a Redis Cluster")
	}
	master := s.c.Servers[h.node%len(s.c.Servers)]
	if err := master.Kill(); err != nil {
		return err
	}
	time.Sleep(h.lasts)
	if err := master.Serve(); err != nil {
		return err
	}
	return until("the Redis Cluster is whole", func() bool {
		for _, m := range s.c.Servers {
			if out, err := m.Do("CLUSTER", "INFO"); err != nil || !strings.Contains(out, "cluster_state:ok") {
				return false
			}
		}
		return true
	})
}

func (s *shards) close() error { return s.c.Close() }

// severalURL names the further servers as go-redis has it.
func severalURL(addrs []string, query url.Values) string {
	query["addr"] = addrs[1:]
	return "redis://" + addrs[0] + "?" + query.Encode()
}

// until looks again and again, since servers that learn of each other tell nobody.
func until(what string, ok func() bool) error {
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("not after %v: %s", patience, what)
		}
	}
	return nil
}
