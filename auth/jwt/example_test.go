package jwt_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	gojwt "github.com/golang-jwt/jwt/v5"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/auth/jwt"
)

// Tokens that the host signs itself, with a secret that it keeps.
func Example() {
	secret := []byte(os.Getenv("JWT_SECRET")) // at least 32 bytes for HS256: openssl rand -base64 48
	v, err := jwt.New(
		jwt.WithSecret(jwt.HS256, secret),
		jwt.WithIssuer("https://example.com"),
		jwt.WithAudience("chat"),
	)
	if err != nil {
		log.Print(err)
		return
	}
	hub, err := chat.New(chat.WithAuth(v.Auth))
	if err != nil {
		log.Print(err)
		return
	}
	http.Handle("/socket.io/", hub)
	http.Handle("POST /api/broadcast", v.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, _ := jwt.UserFrom(r.Context())
		_ = hub.Room("chat").Emit("alert", map[string]string{"from": u.ID, "message": r.FormValue("message")})
	})))
}

// Tokens of an identity provider, whose keys are at an address and change.
func ExampleWithJWKS() {
	v, err := jwt.New(
		jwt.WithJWKS("https://id.example.com/.well-known/jwks.json", jwt.RS256, jwt.ES256),
		jwt.WithIssuer("https://id.example.com/"),
		jwt.WithAudience("chat"),
		jwt.WithClaims(jwt.Claims{Name: "preferred_username", Roles: "realm_access.roles"}),
	)
	if err != nil {
		log.Print(err)
		return
	}
	defer v.Close()
	_, _ = chat.New(
		chat.WithAuth(v.Auth),
		chat.WithRoomPolicy(chat.RoomPolicy{UserRoomsOnly: true}), // the rooms of the token, and no others
	)
}

// A provider whose tokens have no audience says for whom they are in another claim.
func ExampleWithUser() {
	v, err := jwt.New(
		jwt.WithJWKS("https://id.example.com/.well-known/jwks.json", jwt.RS256),
		jwt.WithIssuer("https://id.example.com/"),
		jwt.WithUser(func(_ context.Context, claims map[string]any, u *chat.User) error {
			if claims["client_id"] != "chat" {
				return chat.Errorf(chat.Unauthorized, "the token is not for this service")
			}
			u.Data = claims["tenant"]
			return nil
		}),
	)
	if err == nil {
		v.Close()
	}
}

// A host that signs tokens for its own pages makes them short-lived, each with an id of its own.
func ExampleVerifier_Verify() {
	secret := []byte("thirty-two bytes, known to no one")
	now := time.Now()
	token, _ := gojwt.NewWithClaims(gojwt.SigningMethodHS256, gojwt.MapClaims{
		"sub": "u1", "name": "Ada", "roles": []string{"staff"}, "rooms": []string{"lobby"},
		"aud": "chat", "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(), "jti": "cbd5c1a0",
	}).SignedString(secret)

	v, _ := jwt.New(jwt.WithSecret(jwt.HS256, secret), jwt.WithAudience("chat"))
	u, err := v.Verify(context.Background(), token)
	fmt.Println(u.ID, u.Name, u.Roles, u.Rooms, u.TokenID, err)

	_, err = v.Verify(context.Background(), token+"AAAA")
	var shown *chat.Error
	fmt.Println(errors.As(err, &shown), shown) // what a page sees
	fmt.Println(err)                           // what the log should have
	// Output:
	// u1 Ada [staff] [lobby] cbd5c1a0 <nil>
	// true chat: UNAUTHORIZED: the token is not valid
	// jwt: token signature is invalid: signature is invalid
}
