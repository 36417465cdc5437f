package main

import (
	"cmp"
	"context"
	"strings"
	"unicode/utf8"

	"github.com/parleychat/chat"
)

const maxName = 32 // characters

// anybody is AUTH=none: who comes through a proxy that has signed them in is whom its X-User-ID names; who does not has an id of their own, and a name if their
// page sends one.
func anybody(_ context.Context, h *chat.Handshake) (chat.User, error) {
	if id := h.Header.Get("X-User-ID"); id != "" {
		return chat.User{ID: id, Name: id}, nil
	}
	var auth struct{ Name string }
	if err := h.Decode(&auth); err != nil {
		return chat.User{}, err
	}
	name := strings.TrimSpace(auth.Name)
	if utf8.RuneCountInString(name) > maxName {
		return chat.User{}, chat.Errorf(chat.InvalidPayload, "A name has at most %d characters.", maxName)
	}
	return chat.User{Name: cmp.Or(name, "anonymous")}, nil
}

// whoami tells a page under which user_id others see it.
func whoami(_ context.Context, c *chat.Client, _ struct{}) (chat.Member, error) {
	return chat.Member{UserID: c.User().ID, Name: c.User().Name}, nil
}
