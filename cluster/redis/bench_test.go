package redis_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/cluster/redis"
	"github.com/parleychat/chat/internal/redistest"
)

// counter is a node that counts what it receives.
type counter struct {
	joined, all chan struct{}
	left        int // until all is closed
}

func (c *counter) Joined(string)          { close(c.joined) }
func (c *counter) Up(chat.Node)           {}
func (c *counter) Down(chat.Node)         {}
func (c *counter) Away(error)             {}
func (c *counter) Back()                  {}
func (c *counter) Lost(int)               {}
func (c *counter) Signaled([]byte)        {}
func (c *counter) History(int, ...[]byte) {}
func (c *counter) Receive(_ int, all ...[]byte) {
	if c.left -= len(all); c.left == 0 {
		close(c.all)
	}
}
func (c *counter) Answer(context.Context, []byte) ([]byte, error) { return nil, nil }

// BenchmarkPublish sends publications of 300 bytes from one node to itself and another; an op is one publication. Redis's commands and bytes are those of both nodes.
func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{1, 16, 256} {
		b.Run(fmt.Sprint("batches of ", size), func(b *testing.B) { benchmarkPublish(b, size) })
	}
}

func benchmarkPublish(b *testing.B, size int) {
	s, err := redistest.Start()
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // of a benchmark
	client := at(s.Addr())
	defer client.Close() //nolint:errcheck // of a benchmark
	var nodes []*redis.Cluster
	var counters []*counter
	for i := range 2 {
		c, err := redis.New(client)
		if err != nil {
			b.Fatal(err)
		}
		h := &counter{joined: make(chan struct{}), all: make(chan struct{}), left: b.N}
		if err := c.Join(chat.Node{Tag: fmt.Sprint("node", i)}, h); err != nil {
			b.Fatal(err)
		}
		defer c.Leave(b.Context()) //nolint:errcheck // of a benchmark
		<-h.joined
		nodes, counters = append(nodes, c), append(counters, h)
	}
	data := make([]byte, 300)
	before := used(b, client)
	b.ReportAllocs()
	b.ResetTimer()
	var batch []chat.Publication
	for i := range b.N {
		batch = append(batch, chat.Publication{Stream: i / 4 % 8, Data: data})
		if len(batch) == size || i == b.N-1 {
			if err := nodes[0].Publish(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
			batch = batch[:0]
		}
	}
	for _, c := range counters {
		<-c.all
	}
	b.StopTimer()
	for i, unit := range []string{"commands/op", "bytes-in/op", "bytes-out/op"} {
		b.ReportMetric((used(b, client)[i]-before[i])/float64(b.N), unit)
	}
}

// used are Redis's counters.
func used(b *testing.B, client goredis.UniversalClient) (values [3]float64) {
	b.Helper()
	info, err := client.Info(b.Context(), "stats").Result()
	if err != nil {
		b.Fatal(err)
	}
	for i, name := range []string{"total_commands_processed", "total_net_input_bytes", "total_net_output_bytes"} {
		_, rest, _ := strings.Cut(info, name+":")
		line, _, _ := strings.Cut(rest, "\r")
		if values[i], err = strconv.ParseFloat(line, 64); err != nil {
			b.Fatal(err)
		}
	}
	return values
}
