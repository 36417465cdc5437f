package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/metrics"
)

func TestQuantile(t *testing.T) {
	t.Parallel()
	// 10 up to 1, 30 up to 2, 40 in all.
	now := []bucket{{1, 10}, {2, 30}, {math.Inf(1), 40}}
	for q, want := range map[float64]float64{.25: 1, .5: 1.5, .75: 2, .99: 2} {
		if got := quantile(now, nil, q); got != want {
			t.Errorf("quantile %v: %v, not %v", q, got, want)
		}
	}
	if got := quantile(now, []bucket{{1, 10}, {2, 10}, {math.Inf(1), 10}}, .5); got != 1.75 {
		t.Errorf("of the growth: %v, not 1.75", got)
	}
	if got := quantile(now, now, .5); !math.IsNaN(got) {
		t.Errorf("of nothing: %v", got)
	}
}

// scrapes are two of a Hub with metrics, ten seconds apart.
func scrapes(t *testing.T) []scrape {
	t.Helper()
	m := metrics.New(metrics.Events("cursor"))
	if _, err := chat.New(chat.WithObserver(m)); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(m.Handler())
	defer srv.Close()
	s := newScraper(srv.URL, time.Second)
	var all []scrape
	for i := range 2 {
		for range 50 * i {
			_, done := m.ObserveEvent(t.Context(), nil, &chat.Event{Name: "chat_message"})
			done(nil)
		}
		families, err := s.get()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, scrape{float64(10 * i), families})
	}
	return all
}

func TestRates(t *testing.T) {
	t.Parallel()
	in := scrapes(t)
	got := rates(in, sel("socketio_messages_received_total", "event", "chat_message"), 1)
	if !math.IsNaN(got[0]) || got[1] != 5 {
		t.Errorf("50 events in 10 s: %v", got)
	}
	if got := rates(in, sel("socketio_messages_received_total", "event", "cursor"), 1)[1]; got != 0 {
		t.Errorf("no event: %v", got)
	}
}

func TestDrawing(t *testing.T) {
	t.Parallel()
	all := panels(scrapes(t))
	svg := draw(all, []phase{{"quiet", 0, 4}, {"<load>", 4, 10}}, 2)
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range all {
		if !strings.Contains(svg, ">"+p.title) {
			t.Errorf("no panel %s", p.title)
		}
	}
	if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
		t.Error("a number that is none is drawn")
	}
	if n := strings.Count(svg, "polyline"); n < len(all)/2 {
		t.Errorf("%d lines", n)
	}
	if err := moved(all); err == nil {
		t.Error("a run in which hardly anything happened passes")
	}
}
