package main

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/rs/cors"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/auth/jwt"
	"github.com/parleychat/chat/metrics"
)

const maxAlert = 1_000 // characters

// handler is everything at one address.
func handler(cfg config, hub *chat.Hub, who auth, watch *metrics.Metrics) http.Handler {
	mux := http.NewServeMux()
	// Pages connect as io(base, {path: "/ws/socket.io"}) or by the default path, and to the namespace "/" or "/ws".
	mux.Handle("/socket.io/", hub)
	mux.Handle("/ws/socket.io/", hub)
	mux.Handle("/api/", api(cfg, hub, who))
	mux.Handle("GET /metrics", watch.Handler()) // nginx keeps it from the outside
	mux.Handle("GET /healthz", hub.Health())
	mux.Handle("GET /readyz", hub.Ready())
	mux.Handle("/", page())
	return chat.RequestIDs(mux)
}

// api is what pages and other programs call. CORS lets the pages of ALLOWED_ORIGINS read the answers; that those of other sites cannot send is the guard's part.
func api(cfg config, hub *chat.Hub, who auth) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/auth", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]bool{"token": !cfg.anybody})
	})
	signedIn := func(h http.HandlerFunc) http.Handler { return who.api(unrevoked(hub, h)) }
	mux.Handle("GET /api/rooms", signedIn(func(w http.ResponseWriter, r *http.Request) { rooms(hub, w, r) }))
	withRole := func(role string, h func(*chat.Hub, http.ResponseWriter, *http.Request)) http.Handler {
		return signedIn(func(w http.ResponseWriter, r *http.Request) {
			if !hasRole(r, role) {
				refuse(w, http.StatusForbidden, chat.Forbidden, "this needs the role "+role)
				return
			}
			h(hub, w, r)
		})
	}
	mux.Handle("POST /api/broadcast", withRole(cfg.broadcast, broadcast))
	mux.Handle("POST /api/revoke", withRole(cfg.revoke, revoke))

	guard := http.NewCrossOriginProtection()
	switch {
	case len(cfg.origins) == 0: // to rs/cors an empty list is everybody
		return guard.Handler(mux)
	case slices.Contains(cfg.origins, "*"): // nothing here goes by what a browser sends unasked
		return cors.New(cors.Options{AllowedMethods: []string{http.MethodGet, http.MethodPost}, AllowedHeaders: []string{"Authorization", "X-Request-Id"}}).Handler(mux)
	}
	for _, o := range cfg.origins {
		if err := guard.AddTrustedOrigin(o); err != nil {
			panic(err) // chat.New has taken it for an origin
		}
	}
	return cors.New(cors.Options{
		AllowedOrigins: cfg.origins, AllowedMethods: []string{http.MethodGet, http.MethodPost}, AllowedHeaders: []string{"Authorization", "X-Request-Id"},
	}).Handler(guard.Handler(mux))
}

// unrevoked holds a good token to what Hub.Revoke has said since.
func unrevoked(hub *chat.Hub, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, ok := jwt.UserFrom(r.Context()); ok {
			if err := hub.CheckUser(r.Context(), u); err != nil {
				refuse(w, http.StatusUnauthorized, chat.Unauthorized, "sign in again")
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

func broadcast(hub *chat.Hub, w http.ResponseWriter, r *http.Request) {
	text := r.FormValue("message")
	if strings.TrimSpace(text) == "" || utf8.RuneCountInString(text) > maxAlert {
		refuse(w, http.StatusBadRequest, chat.InvalidPayload, "message is missing or too long")
		return
	}
	if err := hub.Room(room).WithContext(r.Context()).Emit("alert", map[string]string{"message": text}); err != nil {
		slog.WarnContext(r.Context(), "broadcast", "error", err)
		refuse(w, http.StatusServiceUnavailable, chat.Unavailable, "this node is stopping")
		return
	}
	slog.InfoContext(r.Context(), "broadcast", "characters", utf8.RuneCountInString(text))
	answer(w, http.StatusOK, map[string]string{"status": "broadcast_sent"})
}

// revoke ends who is in by a user's tokens, or by the one of that id (jti), on all nodes, and keeps them out.
func revoke(hub *chat.Hub, w http.ResponseWriter, r *http.Request) {
	user, token := r.FormValue("user"), r.FormValue("token")
	act, whom := hub.Revoke, user
	switch {
	case (user == "") == (token == ""):
		refuse(w, http.StatusBadRequest, chat.InvalidPayload, "whose? say user or token")
		return
	case token != "":
		act, whom = hub.RevokeToken, token
	}
	if err := act(r.Context(), whom); err != nil { // here it holds all the same
		slog.ErrorContext(r.Context(), "revoke", "error", err)
		refuse(w, http.StatusServiceUnavailable, chat.Unavailable, "this node has, the others may not have: again, please")
		return
	}
	slog.InfoContext(r.Context(), "revoked", "user_id", user, "token_id", token)
	answer(w, http.StatusOK, map[string]string{"status": "revoked"})
}

type roomInfo struct {
	Room  string `json:"room"`
	Users int    `json:"users"`
}

func rooms(hub *chat.Hub, w http.ResponseWriter, r *http.Request) {
	names, err := hub.Rooms(r.Context())
	list := make([]roomInfo, len(names))
	for i := 0; err == nil && i < len(names); i++ {
		var members []chat.Member
		members, err = hub.Room(names[i]).Members(r.Context())
		list[i] = roomInfo{names[i], len(members)}
	}
	if err != nil {
		slog.WarnContext(r.Context(), "rooms", "error", err)
		refuse(w, http.StatusServiceUnavailable, chat.Unavailable, "the rooms are not known at the moment")
		return
	}
	answer(w, http.StatusOK, map[string]any{"rooms": list})
}

// refuse answers in the form that acks have too.
func refuse(w http.ResponseWriter, status int, code chat.Code, message string) {
	answer(w, status, map[string]any{"ok": false, "error": chat.Errorf(code, "%s", message)})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		slog.Debug("answer", "error", err) // the caller has gone
	}
}
