package main

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// A scrape is what /metrics said at a time, in seconds of the plan.
type scrape struct {
	at       float64
	families map[string]*dto.MetricFamily
}

// A scraper asks each second.
type scraper struct {
	url     string
	second  time.Duration
	scrapes []scrape
}

func newScraper(url string, second time.Duration) *scraper {
	return &scraper{url: url, second: second}
}

// run scrapes until ctx ends.
func (s *scraper) run(ctx context.Context) error {
	begin := time.Now()
	tick := time.NewTicker(s.second)
	defer tick.Stop()
	for {
		families, err := s.get()
		if err != nil {
			return err
		}
		s.scrapes = append(s.scrapes, scrape{float64(time.Since(begin)) / float64(s.second), families})
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *scraper) get() (map[string]*dto.MetricFamily, error) {
	res, err := http.Get(s.url)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", s.url, res.Status)
	}
	p := expfmt.NewTextParser(model.UTF8Validation)
	return p.TextToMetricFamilies(res.Body)
}

// A selector is a metric with what its labels must be: name, value, name, value.
type selector struct {
	metric string
	labels []string
}

func sel(metric string, labels ...string) selector { return selector{metric, labels} }

// each calls f with the series that are selected.
func (s selector) each(in scrape, f func(*dto.Metric)) {
	for _, m := range in.families[s.metric].GetMetric() {
		if s.selects(m) {
			f(m)
		}
	}
}

func (s selector) selects(m *dto.Metric) bool {
	for i := 0; i < len(s.labels); i += 2 {
		if !slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetName() == s.labels[i] && l.GetValue() == s.labels[i+1] }) {
			return false
		}
	}
	return true
}

func (s selector) sum(in scrape) (n float64) {
	s.each(in, func(m *dto.Metric) {
		n += m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetHistogram().GetSampleSum()
	})
	return n
}

// values are the sums over time, scaled.
func values(in []scrape, s selector, scale float64) []float64 {
	out := make([]float64, len(in))
	for i := range in {
		out[i] = s.sum(in[i]) * scale
	}
	return out
}

// rates are the growth a second, scaled; of the first scrape there is none.
func rates(in []scrape, s selector, scale float64) []float64 {
	out := make([]float64, len(in))
	for i := range in {
		out[i] = math.NaN()
		if i > 0 {
			out[i] = (s.sum(in[i]) - s.sum(in[i-1])) / (in[i].at - in[i-1].at) * scale
		}
	}
	return out
}

// quantiles are those of what was observed in the three seconds before; NaN where that is nothing.
func quantiles(in []scrape, s selector, q, scale float64) []float64 {
	out := make([]float64, len(in))
	for i := range in {
		out[i] = quantile(bucketsOf(in[i], s), bucketsOf(in[max(0, i-3)], s), q) * scale
	}
	return out
}

// A bucket has how many were at most as much as its bound.
type bucket struct{ bound, count float64 }

func bucketsOf(in scrape, s selector) (all []bucket) {
	s.each(in, func(m *dto.Metric) {
		for i, b := range m.GetHistogram().GetBucket() {
			if i == len(all) {
				all = append(all, bucket{bound: b.GetUpperBound()})
			}
			all[i].count += float64(b.GetCumulativeCount())
		}
	})
	return all
}

// quantile is as Prometheus' histogram_quantile has it: within a bucket all is spread evenly, and what is above the last bound is that bound.
func quantile(now, before []bucket, q float64) float64 {
	grown := slices.Clone(now)
	for i := range before {
		grown[i].count -= before[i].count
	}
	if len(grown) == 0 || grown[len(grown)-1].count <= 0 {
		return math.NaN()
	}
	rank := q * grown[len(grown)-1].count
	low, below := 0.0, 0.0
	for _, b := range grown {
		if b.count >= rank {
			if math.IsInf(b.bound, 1) {
				return low
			}
			return low + (b.bound-low)*(rank-below)/(b.count-below)
		}
		low, below = b.bound, b.count
	}
	return low
}
