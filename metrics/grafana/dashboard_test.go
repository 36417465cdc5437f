// Package grafana has a dashboard, and a module of its own so that nobody but its test needs a parser of PromQL.
package grafana

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/metrics"
)

type dashboard struct {
	Title         string  `json:"title"`
	UID           string  `json:"uid"`
	SchemaVersion int     `json:"schemaVersion"`
	Panels        []panel `json:"panels"`
	Templating    struct {
		List []struct {
			Name       string `json:"name"`
			Type       string `json:"type"`
			Definition string `json:"definition"`
		} `json:"list"`
	} `json:"templating"`
}

type panel struct {
	ID         int         `json:"id"`
	Type       string      `json:"type"`
	Title      string      `json:"title"`
	Datasource *datasource `json:"datasource"`
	GridPos    struct {
		H, W, X, Y int
	} `json:"gridPos"`
	FieldConfig struct {
		Defaults struct {
			Unit string `json:"unit"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
	Targets []struct {
		RefID        string      `json:"refId"`
		Expr         string      `json:"expr"`
		LegendFormat string      `json:"legendFormat"`
		Datasource   *datasource `json:"datasource"`
	} `json:"targets"`
}

type datasource struct{ Type, UID string }

func load(t *testing.T) (d dashboard) {
	t.Helper()
	b, err := os.ReadFile("chat.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// exported is what a scrape has, after a run in which each metric was touched, with the labels that Prometheus adds.
func exported(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	ctx, m := context.Background(), metrics.New()
	if _, err := chat.New(chat.WithObserver(m)); err != nil {
		t.Fatal(err)
	}
	_, connected := m.ObserveConnect(ctx, &chat.Handshake{Namespace: "/", Transport: "websocket", Protocol: 5})
	connected(new(chat.Client), nil)
	_, answered := m.ObserveEvent(ctx, nil, &chat.Event{Name: "chat_message"})
	answered(nil)
	for _, err := range []error{nil, errors.New("disk full")} {
		_, stored := m.ObserveStore(ctx, chat.StoreCall{Op: "append", Entries: 1})
		stored(err)
	}
	m.ObserveLimit(ctx, chat.LimitHit{Limit: "rate", Step: chat.LimitRefused, Per: chat.PerClient})
	m.ObserveError(ctx, nil, chat.RateLimited, "chat_message")
	m.ObserveDisconnect(ctx, nil, "transport close")
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// family is the one that a series of that name is of.
func family(all map[string]*dto.MetricFamily, name string) *dto.MetricFamily {
	if f := all[name]; f != nil {
		return f
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, suffix); ok {
			if f := all[base]; f != nil && f.GetType() == dto.MetricType_HISTOGRAM {
				return f
			}
		}
	}
	return nil
}

// labels are the values of each label of a family; those that Prometheus adds have none that are known.
func labels(f *dto.MetricFamily) map[string][]string {
	all := map[string][]string{"job": nil, "instance": nil}
	if f.GetType() == dto.MetricType_HISTOGRAM {
		all["le"] = nil
	}
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			all[l.GetName()] = append(all[l.GetName()], l.GetValue())
		}
		for _, q := range m.GetSummary().GetQuantile() {
			all["quantile"] = append(all["quantile"], model.SampleValue(q.GetQuantile()).String())
		}
	}
	return all
}

var (
	variable  = regexp.MustCompile(`\$__rate_interval`)
	legend    = regexp.MustCompile(`{{\s*(\w+)\s*}}`)
	variables = regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)
)

func parse(t *testing.T, expr string) parser.Expr {
	t.Helper()
	e, err := parser.NewParser(parser.Options{}).ParseExpr(variable.ReplaceAllString(expr, "1m"))
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	return e
}

// check wants of an expression that it names what there is, and returns the families that it names.
func check(t *testing.T, all map[string]*dto.MetricFamily, expr string) (names []string) {
	t.Helper()
	parser.Inspect(parse(t, expr), func(n parser.Node, path []parser.Node) error {
		v, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		f := family(all, v.Name)
		if f == nil {
			t.Errorf("%s: there is no %s", expr, v.Name)
			return nil
		}
		names = append(names, f.GetName())
		have := labels(f)
		for _, m := range v.LabelMatchers {
			values, known := have[m.Name]
			if m.Name != model.MetricNameLabel && (!known || m.Type.String() == "=" && !slices.Contains(values, m.Value)) {
				t.Errorf("%s: %s has no label %s", expr, v.Name, m)
			}
		}
		checkPath(t, expr, f, have, path)
		return nil
	})
	return names
}

// checkPath wants that a rate is one of what counts up, that what counts up is shown as a rate, and that groups are by labels that there are.
func checkPath(t *testing.T, expr string, f *dto.MetricFamily, have map[string][]string, path []parser.Node) {
	t.Helper()
	rated := false
	for _, n := range path {
		switch n := n.(type) {
		case *parser.Call:
			rated = rated || n.Func.Name == "rate" || n.Func.Name == "increase"
		case *parser.AggregateExpr:
			for _, by := range n.Grouping {
				if _, ok := have[by]; !ok {
					t.Errorf("%s: %s has no label %s", expr, f.GetName(), by)
				}
			}
		}
	}
	if counts := f.GetType() == dto.MetricType_COUNTER || f.GetType() == dto.MetricType_HISTOGRAM; counts != rated {
		t.Errorf("%s: %s is a %s", expr, f.GetName(), f.GetType())
	}
}

func TestExpressionsNameWhatThereIs(t *testing.T) {
	t.Parallel()
	d, all := load(t), exported(t)
	shown := map[string]bool{}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			for _, name := range check(t, all, target.Expr) {
				shown[name] = true
			}
			checkLegend(t, p.Title, target.Expr, target.LegendFormat, parse(t, target.Expr))
		}
	}
	for name := range all {
		if strings.HasPrefix(name, "socketio_") && !shown[name] {
			t.Errorf("no panel shows %s", name)
		}
	}
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		m := variables.FindStringSubmatch(v.Definition)
		if m == nil {
			t.Errorf("variable %s: %s", v.Name, v.Definition)
			continue
		}
		check(t, all, m[1])
	}
}

// checkLegend wants that a legend names what its series are grouped by.
func checkLegend(t *testing.T, title, expr, format string, e parser.Expr) {
	t.Helper()
	var by []string
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		if a, ok := n.(*parser.AggregateExpr); ok {
			by = append(by, a.Grouping...)
		}
		return nil
	})
	for _, m := range legend.FindAllStringSubmatch(format, -1) {
		if !slices.Contains(by, m[1]) {
			t.Errorf("%s: the legend has %s, and %s has not", title, m[1], expr)
		}
	}
	for _, label := range by {
		if label != "le" && !strings.Contains(format, "{{"+label+"}}") {
			t.Errorf("%s: series of several %s are all named %q", title, label, format)
		}
	}
}

func TestPanels(t *testing.T) {
	t.Parallel()
	d := load(t)
	if d.Title == "" || d.UID == "" || d.SchemaVersion < 39 {
		t.Errorf("title %q, uid %q, schema %d", d.Title, d.UID, d.SchemaVersion)
	}
	if v := d.Templating.List; len(v) == 0 || v[0].Name != "DS_PROMETHEUS" || v[0].Type != "datasource" {
		t.Error("the first variable is not the datasource DS_PROMETHEUS")
	}
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("%s: a second panel %d", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if by := taken[[2]int{x, y}]; by != "" || x >= 24 {
					t.Fatalf("%s lies over %q or the edge", p.Title, by)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type != "row" {
			checkPanel(t, &p)
		}
	}
}

func checkPanel(t *testing.T, p *panel) {
	t.Helper()
	if len(p.Targets) == 0 || p.FieldConfig.Defaults.Unit == "" && p.Type != "heatmap" {
		t.Errorf("%s has no target, or no unit", p.Title)
	}
	refs := map[string]bool{}
	sources := []*datasource{p.Datasource}
	for _, target := range p.Targets {
		if target.RefID == "" || refs[target.RefID] {
			t.Errorf("%s: ref id %q", p.Title, target.RefID)
		}
		refs[target.RefID] = true
		sources = append(sources, target.Datasource)
	}
	for _, s := range sources {
		if s == nil || s.Type != "prometheus" || s.UID != "${DS_PROMETHEUS}" {
			t.Errorf("%s: datasource %v", p.Title, s)
		}
	}
}
