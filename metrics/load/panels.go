package main

import (
	"fmt"
	"math"
)

// A panel is a set of lines on one scale.
type panel struct {
	title, unit string
	log         bool
	lines       []line
}

type line struct {
	name   string
	values []float64 // one a scrape; NaN: none
}

const (
	milli  = 1e3
	perKiB = 1.0 / (1 << 10)
	perMiB = 1.0 / (1 << 20)
)

// panels are the groups of the metrics, each out of the same series as the dashboard's.
func panels(in []scrape) []panel {
	rate := func(name string, scale float64, metric string, labels ...string) line {
		return line{name, rates(in, sel(metric, labels...), scale)}
	}
	value := func(name string, scale float64, metric string, labels ...string) line {
		return line{name, values(in, sel(metric, labels...), scale)}
	}
	quantile := func(name string, q float64, metric string, labels ...string) line {
		return line{name, quantiles(in, sel(metric, labels...), q, milli)}
	}
	const (
		received, errors, acks = "socketio_messages_received_total", "socketio_errors_total", "socketio_ack_duration_seconds"
		store, limits, left    = "socketio_store_duration_seconds", "socketio_limits_total", "socketio_disconnects_total"
	)
	return []panel{
		{"Clients", "", false, []line{value("connected", 1, "socketio_clients_connected"), value("sessions", 1, "socketio_sessions")}},
		{"Connects", "1/s", true, []line{
			rate("accepted", 1, "socketio_connections_total", "result", "accepted"), rate("recovered", 1, "socketio_recoveries_total", "result", "recovered"),
			rate("lost", 1, "socketio_recoveries_total", "result", "lost"),
		}},
		{"Disconnects", "1/s", true, []line{
			rate("transport close", 1, left, "reason", "transport close"), rate("rate limited", 1, left, "reason", "rate limited"),
			rate("slow consumer", 1, "socketio_evictions_total", "reason", "slow consumer"),
		}},
		{"Events received", "1/s", true, []line{
			rate("chat_message", 1, received, "event", "chat_message"), rate("typing", 1, received, "event", "typing"), rate("history", 1, received, "event", "history"),
			rate("cursor", 1, received, "event", "cursor"), rate("other", 1, received, "event", "other"),
		}},
		{"Deliveries", "1,000/s", false, []line{rate("deliveries", 1e-3, "socketio_deliveries_total")}},
		{"Traffic", "MiB/s", true, []line{rate("out", perMiB, "socketio_sent_bytes_total"), rate("in", perMiB, "socketio_received_bytes_total")}},
		{"Ack of a chat_message", "ms", true, []line{quantile("median", .5, acks, "event", "chat_message"), quantile("99 %", .99, acks, "event", "chat_message")}},
		{"Store: append", "ms", true, []line{quantile("median", .5, store, "op", "append"), quantile("99 %", .99, store, "op", "append")}},
		{"Entries in an append", "", false, []line{mean(in)}},
		{"Outboxes", "KiB", true, []line{value("all", perKiB, "socketio_outbox_bytes"), value("deepest", perKiB, "socketio_outbox_deepest_bytes")}},
		{"Errors told", "1/s", true, []line{
			rate("RATE_LIMITED", 1, errors, "code", "RATE_LIMITED"), rate("UNKNOWN_EVENT", 1, errors, "code", "UNKNOWN_EVENT"),
			rate("SLOW_CONSUMER", 1, errors, "code", "SLOW_CONSUMER"),
		}},
		{"Limits hit", "1/s", true, []line{
			rate("refused", 1, limits, "step", "refused"), rate("cool-down", 1, limits, "step", "cool-down"), rate("disconnect", 1, limits, "step", "disconnect"),
		}},
		{"Processor", "cores", false, []line{rate("cores", 1, "process_cpu_seconds_total")}},
		{"Memory", "MiB", false, []line{value("resident", perMiB, "process_resident_memory_bytes"), value("heap", perMiB, "go_memstats_heap_alloc_bytes")}},
		{"Goroutines", "", false, []line{value("goroutines", 1, "go_goroutines")}},
	}
}

// mean is how many entries an append brings.
func mean(in []scrape) line {
	batch := sel("socketio_store_batch_entries")
	out := make([]float64, len(in))
	for i := range in {
		out[i] = math.NaN()
		if i == 0 {
			continue
		}
		if n := count(in[i], batch) - count(in[i-1], batch); n > 0 {
			out[i] = (batch.sum(in[i]) - batch.sum(in[i-1])) / n
		}
	}
	return line{"mean", out}
}

func count(in scrape, s selector) float64 {
	b := bucketsOf(in, s)
	if len(b) == 0 {
		return 0
	}
	return b[len(b)-1].count
}

// moved fails if there is a line of which there is nothing to see.
func moved(panels []panel) error {
	for _, p := range panels {
		for _, l := range p.lines {
			if highest(l.values) == 0 {
				return fmt.Errorf("%s: %s is 0 all the time", p.title, l.name)
			}
		}
	}
	return nil
}

func highest(values []float64) (most float64) {
	for _, v := range values {
		if v > most { // false for NaN
			most = v
		}
	}
	return most
}
