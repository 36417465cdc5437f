// Command hub is a Hub with a Bridge, for the tests: clients connect to it, and the test tells it by HTTP what to do.
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/cluster/redis/nodewire"
)

// order is what the test tells the Hub to do.
type order struct {
	Namespace  string
	Rooms      []string
	SIDs       []string
	Except     []string
	ExceptSIDs []string
	Event      string
	Args       []any
	Room       string
	Timeout    time.Duration // ms
}

func (o *order) target(hub *chat.Hub) chat.Target {
	if o.Namespace != "" {
		hub = hub.Of(o.Namespace)
	}
	var sel []chat.Selector
	if len(o.Rooms) > 0 {
		sel = append(sel, chat.Rooms(o.Rooms...))
	}
	if len(o.SIDs) > 0 {
		sel = append(sel, chat.Clients(o.SIDs...))
	}
	return hub.To(sel...).Except(chat.Rooms(o.Except...), chat.Clients(o.ExceptSIDs...))
}

// binary makes a []byte of {"$bin": base64}.
func binary(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = binary(v[i])
		}
	case map[string]any:
		if text, ok := v["$bin"].(string); ok {
			b, _ := base64.StdEncoding.DecodeString(text)
			return b
		}
		for k := range v {
			v[k] = binary(v[k])
		}
	}
	return v
}

type reply struct {
	Client string
	Value  any
	Err    string `json:",omitempty"`
}

func callAll(ctx context.Context, o *order, t chat.Target) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout*time.Millisecond)
	defer cancel()
	replies, err := chat.CallAll[any](ctx, t, o.Event, o.Args...)
	out := []reply{}
	for _, r := range replies {
		one := reply{Client: r.Client, Value: r.Value}
		if r.Err != nil {
			one.Err = r.Err.Error()
		}
		out = append(out, one)
	}
	return out, err
}

func do(ctx context.Context, hub *chat.Hub, bridge *nodewire.Bridge, what string, o *order) (any, error) {
	for i := range o.Args {
		o.Args[i] = binary(o.Args[i])
	}
	t := o.target(hub)
	switch what {
	case "emit":
		return nil, t.Emit(o.Event, o.Args...)
	case "join":
		return nil, t.Join(ctx, o.Room)
	case "leave":
		return nil, t.Leave(ctx, o.Room)
	case "disconnect":
		return nil, t.Disconnect(ctx)
	case "post":
		return hub.Room(o.Room).Post(ctx, chat.Post{Text: o.Event, UserID: "host"})
	case "call":
		return callAll(ctx, o, t)
	case "rooms":
		return hub.Rooms(ctx)
	case "counts":
		return map[string]int64{"dropped": bridge.Dropped(), "invalid": bridge.Invalid()}, nil
	}
	return nil, fmt.Errorf("unknown order %q", what)
}

func serve(hub *chat.Hub, bridge *nodewire.Bridge) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var o order
		var v any
		err := json.NewDecoder(r.Body).Decode(&o)
		if err == nil {
			v, err = do(r.Context(), hub, bridge, r.PathValue("what"), &o)
		}
		answer := map[string]any{"value": v}
		if err != nil {
			answer["error"] = err.Error()
		}
		_ = json.NewEncoder(w).Encode(answer)
	}
}

func serverSide(_ context.Context, namespace, event string, args chat.Args) (any, error) {
	if event == "fail" {
		return nil, fmt.Errorf("as it was asked to")
	}
	return map[string]any{"hub": event, "namespace": namespace, "args": args.Values()}, nil
}

func main() {
	addr := flag.String("redis", "", "address of Redis, or those of a Redis Cluster, with commas between")
	wire := flag.String("wire", "adapter", "adapter or streams")
	count := flag.Int("streams", 1, "streamCount")
	key := flag.String("key", "socket.io", "key, or streamName and channelPrefix")
	flag.Parse()
	client := redis.NewUniversalClient(&redis.UniversalOptions{ // of a Redis Cluster, where there are several
		Addrs: strings.Split(*addr, ","), ReadTimeout: 500 * time.Millisecond, // short, so that it repeats what it has no answer to
	})
	opts := []nodewire.Option{nodewire.WithKey(*key), nodewire.OnServerSideEmit(serverSide)}
	newBridge := nodewire.Adapter
	if *wire == "streams" {
		newBridge, opts = nodewire.Streams, append(opts, nodewire.WithStreamCount(*count))
	}
	bridge := newBridge(client, opts...)
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	hub, err := chat.New(chat.WithBridge(bridge), chat.WithOrigins("*"), chat.WithLogger(log), chat.Namespace("/admin"), chat.WithGrace(0))
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", hub)
	mux.HandleFunc("POST /do/{what}", serve(hub, bridge))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(ln.Addr())
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(ln) }()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := hub.Shutdown(ctx); err != nil {
		log.Error("shutdown", "error", err)
		os.Exit(1)
	}
	_ = server.Close()
	_ = client.Close()
}
