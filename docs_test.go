package chat_test

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/parleychat/chat"
)

// Every limit and timeout is on the pages that operators read.
func TestDocsNameEachLimit(t *testing.T) {
	t.Parallel()
	for _, page := range []string{"docs/operations.md", "docs/limits.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, of := range []any{chat.Limits{}, chat.Timeouts{}} {
			for f := range reflect.TypeOf(of).Fields() {
				if !strings.Contains(string(text), "`"+f.Name+"`") && !strings.Contains(string(text), "."+f.Name+"`") {
					t.Errorf("%s does not name %s", page, f.Name)
				}
			}
		}
	}
}

// Every code is on the page that the pages' authors read.
func TestDocsNameEachCode(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range []chat.Code{
		chat.InvalidPayload, chat.UnknownEvent, chat.Unauthorized, chat.TokenExpired, chat.Forbidden, chat.NotFound, chat.NotMember, chat.RateLimited,
		chat.TooLarge, chat.Rejected, chat.SlowConsumer, chat.Unavailable, chat.Internal,
	} {
		if !strings.Contains(string(text), string(code)) {
			t.Errorf("no %s", code)
		}
	}
}
