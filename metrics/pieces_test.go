package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/metrics"
)

// gather is what a scrape of m finds, by a registry that checks it.
func gather(t testing.TB, m prometheus.Collector) map[string]*dto.MetricFamily {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(m)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*dto.MetricFamily{}
	for _, f := range families {
		byName[f.GetName()] = f
	}
	return byName
}

// value is a metric's value, or a histogram's count, summed up over the series that have the labels: "name=value".
func value(t testing.TB, m prometheus.Collector, metric string, labels ...string) float64 {
	t.Helper()
	f := gather(t, m)[metric]
	if f == nil {
		t.Fatalf("no metric %s", metric)
	}
	var sum float64
	for _, s := range f.GetMetric() {
		if hasLabels(s, labels) {
			sum += s.GetCounter().GetValue() + s.GetGauge().GetValue() + float64(s.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

func hasLabels(s *dto.Metric, labels []string) bool {
	have := map[string]bool{}
	for _, l := range s.GetLabel() {
		have[l.GetName()+"="+l.GetValue()] = true
	}
	for _, l := range labels {
		if !have[l] {
			return false
		}
	}
	return true
}

func want(t *testing.T, m prometheus.Collector, n float64, metric string, labels ...string) {
	t.Helper()
	if got := value(t, m, metric, labels...); got != n {
		t.Errorf("%s%v is %v, not %v", metric, labels, got, n)
	}
}

func event(m *metrics.Metrics, name string, err error) {
	_, done := m.ObserveEvent(context.Background(), nil, &chat.Event{Name: name})
	done(err)
}

func connect(m *metrics.Metrics, h chat.Handshake, c *chat.Client, refused *chat.Error) {
	_, done := m.ObserveConnect(context.Background(), &h)
	h = chat.Handshake{}
	done(c, refused)
}

func store(m *metrics.Metrics, call chat.StoreCall, err error) {
	_, done := m.ObserveStore(context.Background(), call)
	done(err)
}

func TestEvents(t *testing.T) {
	t.Parallel()
	m := metrics.New(metrics.Events("cursor"))
	event(m, "chat_message", nil)
	event(m, "chat_message", chat.Errorf(chat.NotMember, "no"))
	event(m, "cursor", nil)
	event(m, "cursors", nil)
	event(m, "", nil)
	for name, n := range map[string]float64{"chat_message": 2, "cursor": 1, "other": 2, "history": 0} {
		want(t, m, n, "socketio_messages_received_total", "event="+name)
		want(t, m, n, "socketio_ack_duration_seconds", "event="+name)
	}
}

func TestAckLatencyIsUntilTheAnswer(t *testing.T) {
	t.Parallel()
	m := metrics.New()
	synctest.Test(t, func(t *testing.T) {
		e := &chat.Event{Name: "history", At: time.Now()}
		time.Sleep(2 * time.Second) // in the inbox
		_, done := m.ObserveEvent(context.Background(), nil, e)
		want(t, m, 1, "socketio_messages_received_total", "event=history")
		want(t, m, 0, "socketio_ack_duration_seconds", "event=history")
		time.Sleep(time.Second)
		done(nil)
		for _, s := range gather(t, m)["socketio_ack_duration_seconds"].GetMetric() {
			if hasLabels(s, []string{"event=history"}) && s.GetHistogram().GetSampleSum() != 3 {
				t.Errorf("an answer after 3 s took %v s", s.GetHistogram().GetSampleSum())
			}
		}
		want(t, m, 1, "socketio_ack_duration_seconds", "event=history")
	})
}

func TestConnects(t *testing.T) {
	t.Parallel()
	m := metrics.New(metrics.Codes("BANNED"))
	page := chat.Handshake{Namespace: "/", Transport: "websocket", Protocol: 5}
	connect(m, page, new(chat.Client), nil)
	connect(m, page, nil, nil)
	connect(m, page, nil, chat.Errorf(chat.Unauthorized, "who?"))
	connect(m, page, nil, chat.Errorf("BANNED", "you"))
	connect(m, page, nil, chat.Errorf("NOT_LISTED", "you"))
	connect(m, chat.Handshake{Namespace: "/admin", Transport: "polling", Protocol: 4}, new(chat.Client), nil)
	connect(m, chat.Handshake{Namespace: "/", Transport: "carrier pigeon", Protocol: 77}, new(chat.Client), nil)
	const metric = "socketio_connections_total"
	for _, result := range []string{"accepted", "gone", "UNAUTHORIZED", "BANNED", "other"} {
		want(t, m, 1, metric, "namespace=/", "transport=websocket", "protocol=5", "result="+result)
	}
	want(t, m, 1, metric, "namespace=/admin", "transport=polling", "protocol=4", "result=accepted")
	want(t, m, 1, metric, "namespace=/", "transport=other", "protocol=other", "result=accepted")
}

func TestStore(t *testing.T) {
	t.Parallel()
	m := metrics.New()
	store(m, chat.StoreCall{Op: "append", Entries: 3}, nil)
	store(m, chat.StoreCall{Op: "append", Entries: 40}, fmt.Errorf("pool: %w", context.DeadlineExceeded))
	store(m, chat.StoreCall{Op: "page"}, errors.New("disk"))
	store(m, chat.StoreCall{Op: "defragment"}, nil)
	want(t, m, 1, "socketio_store_duration_seconds", "op=append", "result=ok")
	want(t, m, 1, "socketio_store_duration_seconds", "op=append", "result=timeout")
	want(t, m, 1, "socketio_store_duration_seconds", "op=page", "result=error")
	want(t, m, 1, "socketio_store_duration_seconds", "op=other", "result=ok")
	want(t, m, 2, "socketio_store_batch_entries")
	batch := gather(t, m)["socketio_store_batch_entries"].GetMetric()[0].GetHistogram()
	if batch.GetSampleSum() != 43 {
		t.Errorf("%v entries appended, not 43", batch.GetSampleSum())
	}
}

func TestErrorsLimitsDisconnects(t *testing.T) {
	t.Parallel()
	ctx, m := context.Background(), metrics.New(metrics.Codes("BANNED"))
	for _, code := range []chat.Code{chat.TooLarge, "BANNED", "A", "B"} {
		m.ObserveError(ctx, nil, code, "x")
	}
	want(t, m, 1, "socketio_errors_total", "code=TOO_LARGE")
	want(t, m, 1, "socketio_errors_total", "code=BANNED")
	want(t, m, 2, "socketio_errors_total", "code=other")

	m.ObserveLimit(ctx, chat.LimitHit{Limit: "rate", Step: chat.LimitCoolDown, Per: chat.PerUser, Event: "x", UserID: "ann"})
	m.ObserveLimit(ctx, chat.LimitHit{Limit: "LegacyClients", Step: chat.LimitRefused})
	m.ObserveLimit(ctx, chat.LimitHit{Limit: "x", Step: "y", Per: "z"})
	want(t, m, 1, "socketio_limits_total", "limit=rate", "step=cool-down", "scope=user")
	want(t, m, 1, "socketio_limits_total", "limit=LegacyClients", "step=refused", "scope=all")
	want(t, m, 1, "socketio_limits_total", "limit=other", "step=other", "scope=other")

	limits := reflect.TypeFor[chat.Limits]()
	for i := range limits.NumField() { // each is known by its name
		name := limits.Field(i).Name
		if name == "Inbox" || name == "Attachments" { // nobody is told of them
			continue
		}
		m.ObserveLimit(ctx, chat.LimitHit{Limit: name, Step: chat.LimitDisconnect})
		want(t, m, 1, "socketio_limits_total", "limit="+name, "step=disconnect")
	}

	m.ObserveDisconnect(ctx, nil, "ping timeout")
	m.ObserveDisconnect(ctx, nil, "bored")
	want(t, m, 1, "socketio_disconnects_total", "reason=ping timeout")
	want(t, m, 1, "socketio_disconnects_total", "reason=other")
}

// What a host lists may be no label for Prometheus; it must not fail in the middle of traffic.
func TestListedNamesThatAreNoUTF8(t *testing.T) {
	t.Parallel()
	m := metrics.New(metrics.Events("a\xff", "chat_message", "other"), metrics.Codes("b\xff", chat.Internal))
	event(m, "a\xff", nil)
	event(m, "nobody's", nil)
	m.ObserveError(context.Background(), nil, "b\xff", "")
	connect(m, chat.Handshake{Namespace: "/"}, nil, chat.Errorf("b\xff", ""))
	want(t, m, 1, "socketio_messages_received_total", "event=a\uFFFD")
	want(t, m, 1, "socketio_messages_received_total", "event=other")
	want(t, m, 1, "socketio_errors_total", "code=b\uFFFD")
}

func TestLint(t *testing.T) {
	t.Parallel()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(touched(t))
	problems, err := testutil.GatherAndLint(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// touched are Metrics of which each piece was called.
func touched(t testing.TB) *metrics.Metrics {
	t.Helper()
	m := metrics.New()
	event(m, "chat_message", nil)
	connect(m, chat.Handshake{Namespace: "/", Transport: "websocket", Protocol: 5}, nil, nil)
	store(m, chat.StoreCall{Op: "append", Entries: 3}, nil)
	m.ObserveLimit(context.Background(), chat.LimitHit{Limit: "rate", Step: chat.LimitRefused, Per: chat.PerClient})
	if _, err := chat.New(chat.WithObserver(m)); err != nil {
		t.Fatal(err)
	}
	return m
}

// lines counts what a scrape has: a histogram is as many as it has buckets, and three.
func lines(t testing.TB, m prometheus.Collector) int {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(m)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range families {
		for _, s := range f.GetMetric() {
			n++
			if h := s.GetHistogram(); h != nil {
				n += len(h.GetBucket()) + 2
			}
		}
	}
	return n
}

// Whatever strangers make up comes to a bounded number of series.
func TestStrangersMakeNoSeries(t *testing.T) {
	t.Parallel()
	ctx, m := context.Background(), metrics.New()
	for i := range 10_000 {
		name := strings.Repeat("x", i%40) + fmt.Sprint(i)
		event(m, name, nil)
		store(m, chat.StoreCall{Op: name}, nil)
		connect(m, chat.Handshake{Namespace: "/" + name, Transport: name, Protocol: i}, nil, chat.Errorf(chat.Code(name), ""))
		m.ObserveError(ctx, nil, chat.Code(name), name)
		m.ObserveDisconnect(ctx, nil, name)
		m.ObserveLimit(ctx, chat.LimitHit{Limit: name, Step: chat.LimitStep(name), Per: chat.Scope(name)})
	}
	want(t, m, 10_000, "socketio_messages_received_total", "event=other")
	// 100 namespaces and "other", each with protocols 4, 5 and "other" at most, is what is left to them that the Hub itself does not let through.
	if n := len(gather(t, m)["socketio_connections_total"].GetMetric()); n > 101+2 {
		t.Errorf("%d series of connects", n)
	}
	m = metrics.New()
	before := lines(t, m)
	for i := range 10_000 {
		event(m, fmt.Sprint("made-up-", i), nil)
	}
	if after := lines(t, m); after != before {
		t.Errorf("10,000 names of events made %d lines of %d", after, before)
	}
}
