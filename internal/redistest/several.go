//go:build unix

package redistest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Sentinel is a primary with one replica, watched by three Sentinels under the name Main.
type Sentinel struct {
	Primary, Replica *Server // as they were at the start
	Guards           []*Server
}

// Main is the name under which Sentinels know the primary.
const Main = "main"

// StartSentinel starts all five, and waits until the Sentinels know each other and the replica: from then on they replace a primary that does not answer for a second.
func StartSentinel(settings ...string) (*Sentinel, error) {
	s := &Sentinel{}
	if err := s.start(settings); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Sentinel) start(settings []string) (err error) {
	if s.Primary, err = Start(settings...); err != nil {
		return err
	}
	follow := append([]string{fmt.Sprintf("replicaof 127.0.0.1 %d", s.Primary.port)}, settings...)
	if s.Replica, err = Start(follow...); err != nil {
		return err
	}
	for range 3 {
		guard, err := start(true, func(*Server) ([]string, error) {
			return []string{
				fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d 2", Main, s.Primary.port),
				"sentinel down-after-milliseconds " + Main + " 1000",
				"sentinel failover-timeout " + Main + " 5000",
			}, nil
		})
		if err != nil {
			return err
		}
		s.Guards = append(s.Guards, guard)
	}
	for _, g := range s.Guards {
		if err := g.until("num-other-sentinels\n2", "SENTINEL", "MASTER", Main); err != nil {
			return err
		}
		if err := g.until("num-slaves\n1", "SENTINEL", "MASTER", Main); err != nil {
			return err
		}
	}
	return s.Replica.until("master_link_status:up", "INFO", "replication")
}

// Addrs are the Sentinels'.
func (s *Sentinel) Addrs() []string { return addrs(s.Guards) }

// Close ends all and removes their data.
func (s *Sentinel) Close() error {
	return closeAll(append(append([]*Server{}, s.Guards...), s.Replica, s.Primary)...)
}

// Cluster is a Redis Cluster of three primaries, each with a third of the slots.
type Cluster struct{ Servers []*Server }

const slots = 16384

// StartCluster starts the three, and waits until each one says that the cluster is complete.
func StartCluster(settings ...string) (*Cluster, error) {
	c := &Cluster{}
	if err := c.start(settings); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Cluster) start(settings []string) error {
	buses := make([]int, 3)
	for i := range buses {
		s, err := start(false, func(*Server) (_ []string, err error) {
			if buses[i], err = freePort(); err != nil {
				return nil, err
			}
			return append([]string{"cluster-enabled yes", "cluster-node-timeout 2000", "cluster-port " + strconv.Itoa(buses[i])}, settings...), nil
		})
		if err != nil {
			return err
		}
		c.Servers = append(c.Servers, s)
	}
	for i, s := range c.Servers {
		first, last := i*slots/len(c.Servers), (i+1)*slots/len(c.Servers)-1
		if _, err := s.Do("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(first), strconv.Itoa(last)); err != nil {
			return err
		}
		if _, err := c.Servers[0].Do("CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(s.port), strconv.Itoa(buses[i])); err != nil {
			return err
		}
	}
	for _, s := range c.Servers {
		for _, want := range []string{"cluster_state:ok", "cluster_slots_ok:16384", "cluster_known_nodes:3"} {
			if err := s.until(want, "CLUSTER", "INFO"); err != nil {
				return err
			}
		}
	}
	return nil
}

// Addrs are the servers'.
func (c *Cluster) Addrs() []string { return addrs(c.Servers) }

// Close ends all and removes their data.
func (c *Cluster) Close() error { return closeAll(append([]*Server{}, c.Servers...)...) }

func addrs(servers []*Server) []string {
	var all []string
	for _, s := range servers {
		all = append(all, s.Addr())
	}
	return all
}

// until runs a command until its output, without carriage returns, contains what is wanted: servers that learn of each other tell nobody.
func (s *Server) until(want string, command ...string) error {
	deadline := time.Now().Add(startTimeout)
	for {
		out, err := s.Do(command...)
		if err == nil && strings.Contains(strings.ReplaceAll(out, "\r", ""), want) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("redistest: no %q in time: %w\n%s\n%s", want, err, out, s.Log())
		}
		<-time.After(50 * time.Millisecond)
	}
}
