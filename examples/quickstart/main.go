// Quickstart is a chat server in one file: a Hub with a page, a status and a
// broadcast endpoint beside it, on one mux.
//
//	go run ./examples/quickstart -addr 127.0.0.1:8000
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/parleychat/chat"
	"github.com/rs/cors"
)

const (
	room    = "chat" // everybody is in it
	maxText = 2000   // characters
	maxName = 32     // characters
)

// origins are those of Vite's dev server, which serves the page from another port.
var origins = []string{"http://localhost:5173", "http://127.0.0.1:5173"}

func main() {
	addr := flag.String("addr", "127.0.0.1:8000", "listen on `HOST:PORT`")
	web := flag.String("web", builtPage(), "serve the built page from `DIR`")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *web); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, addr, web string) error {
	hub, err := newHub()
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", hub)
	mux.Handle("/api/", api(hub))
	mux.Handle("/", page(web))

	// The Hub's long polls and WebSockets set their own deadlines.
	server := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	fmt.Printf("http://%s\n", listener.Addr())

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	// The Hub first: it ends the long polls that server.Shutdown would wait
	// for, and the WebSockets that server.Shutdown does not know of.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(hub.Shutdown(ctx), server.Shutdown(ctx))
}

func newHub() (*chat.Hub, error) {
	return chat.New(
		chat.WithOrigins(origins...),
		chat.WithRooms(room),
		chat.WithAnonymous(), // the page's auth.device keeps one user through a reload
		chat.WithAuth(name),
		chat.OnConnect(func(_ context.Context, c *chat.Client) {
			fmt.Printf("connect %s\n", c.ID())
			tell(c.Hub(), "client_connected", person{SID: c.ID(), UserID: c.User().ID, Name: c.User().Name})
		}),
		chat.OnDisconnect(func(_ context.Context, c *chat.Client, reason string) {
			fmt.Printf("disconnect %s (%s)\n", c.ID(), reason)
		}),
		chat.On("chat_message", say),
		chat.OnCall("people", people),
	)
}

// name takes the display name from the handshake. There are no accounts here:
// a User without an ID is anonymous.
func name(_ context.Context, h *chat.Handshake) (chat.User, error) {
	var auth struct{ Name string }
	if err := h.Decode(&auth); err != nil {
		return chat.User{}, err
	}
	if utf8.RuneCountInString(auth.Name) > maxName {
		return chat.User{}, chat.Errorf(chat.InvalidPayload, "A name has at most %d characters.", maxName)
	}
	return chat.User{Name: strings.TrimSpace(auth.Name)}, nil
}

type said struct {
	SID     string `json:"sid"`
	Message string `json:"message"`
}

// say takes the library's own chat_message over: what a client says goes to
// all clients, the sender included, and is not kept.
func say(_ context.Context, c *chat.Client, text string) error {
	if strings.TrimSpace(text) == "" {
		return chat.Errorf(chat.InvalidPayload, "There is nothing in this message.")
	}
	if utf8.RuneCountInString(text) > maxText {
		return chat.Errorf(chat.TooLarge, "A message has at most %d characters.", maxText)
	}
	return c.Hub().Emit("chat_message", said{SID: c.ID(), Message: text})
}

// person tells pages whose sid it is that comes with a chat_message.
type person struct {
	SID    string `json:"sid"`
	UserID string `json:"user_id"`
	Name   string `json:"name"`
}

func people(ctx context.Context, c *chat.Client, _ struct{}) ([]person, error) {
	clients, err := c.Room(room).Clients(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]person, len(clients))
	for i, other := range clients {
		list[i] = person{SID: other.ID, UserID: other.UserID, Name: other.Name}
	}
	return list, nil
}

// api is what other programs, and pages from the listed origins, call.
func api(hub *chat.Hub) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/status", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"message": "Socket.IO server running!"})
	})
	mux.HandleFunc("POST /api/broadcast", func(w http.ResponseWriter, r *http.Request) {
		text := r.FormValue("message")
		if strings.TrimSpace(text) == "" || utf8.RuneCountInString(text) > maxText {
			answer(w, http.StatusBadRequest, map[string]string{"error": "message is missing or too long"})
			return
		}
		tell(hub.Room(room), "alert", map[string]string{"message": text})
		answer(w, http.StatusOK, map[string]string{"status": "broadcast_sent"})
	})

	// CORS lets the listed pages read the answers; it does not keep the pages
	// of other sites from sending, which is the second one's part.
	listed := cors.New(cors.Options{AllowedOrigins: origins, AllowedMethods: []string{http.MethodGet, http.MethodPost}})
	guard := http.NewCrossOriginProtection()
	for _, o := range origins {
		if err := guard.AddTrustedOrigin(o); err != nil {
			panic(err) // a constant of this file
		}
	}
	return listed.Handler(guard.Handler(mux))
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		log.Printf("answer: %v", err)
	}
}

// tell emits what cannot be refused for its content: a failure is the Hub
// being shut down.
func tell(to interface {
	Emit(event string, args ...any) error
}, event string, v any) {
	if err := to.Emit(event, v); err != nil {
		log.Printf("%s: %v", event, err)
	}
}
