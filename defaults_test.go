package chat

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// shownDefault is how the docs may write a default of a Limits or Timeouts field.
func shownDefault(v reflect.Value) []string {
	if d, ok := v.Interface().(time.Duration); ok {
		return []string{fmt.Sprintf("%d s", d/time.Second)}
	}
	n := v.Int()
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	all := []string{digits}
	switch {
	case n < 0:
		all = []string{"none"}
	case n%(1<<20) == 0:
		all = append(all, fmt.Sprintf("%d MiB", n>>20))
	case n%(1<<10) == 0:
		all = append(all, fmt.Sprintf("%d KiB", n>>10))
	}
	return all
}

// The defaults that operators read are those that hold.
func TestDocsHaveTheDefaults(t *testing.T) {
	t.Parallel()
	s := defaults()
	pages := map[string]string{}
	for _, page := range []string{"docs/operations.md", "docs/limits.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		pages[page] = string(text)
	}
	for _, of := range []any{s.limits, s.timeouts} {
		v := reflect.ValueOf(of)
		for i := range v.NumField() {
			field, shown := v.Type().Field(i).Name, shownDefault(v.Field(i))
			for page, text := range pages {
				found := false
				for _, value := range shown {
					for _, row := range []string{"| `%s` | %s ", "| `%s` | %s;"} {
						found = found || strings.Contains(text, fmt.Sprintf(row, field, value))
					}
					for _, row := range []string{"| %s | `Timeouts.%s` |", "| %s; 45 s, as a heartbeat | `Timeouts.%s`, "} {
						found = found || strings.Contains(text, fmt.Sprintf(row, value, field))
					}
				}
				if !found {
					t.Errorf("%s: %s is not %q there", page, field, shown)
				}
			}
		}
	}
	ops := pages["docs/operations.md"]
	for what, want := range map[string]string{
		"WithHeartbeat":       fmt.Sprintf("%.0f s, %.0f s", s.pingInterval.Seconds(), s.pingTimeout.Seconds()),
		"WithRecovery":        fmt.Sprintf("%.0f min, %d MiB", s.recoveryWindow.Minutes(), s.recoveryBytes>>20),
		"WithGrace":           fmt.Sprintf("%.0f s", s.grace.Seconds()),
		"WithTokenLife":       fmt.Sprintf("%.0f h", tokenLife.Hours()),
		"WithDrainPace":       fmt.Sprint(drainPace),
		"WithClusterPatience": fmt.Sprintf("%.0f s", s.patience.Seconds()),
	} {
		if row := "| " + want + " | `" + what + "` |"; !strings.Contains(ops, row) {
			t.Errorf("docs/operations.md has no %q", row)
		}
	}
}
