package metrics_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/parleychat/chat/metrics"
)

// Every metric is on the pages that operators read.
func TestDocsNameEachMetric(t *testing.T) {
	t.Parallel()
	all := make(chan *prometheus.Desc)
	go func() {
		defer close(all)
		metrics.New().Describe(all)
	}()
	var names []string
	for d := range all {
		names = append(names, regexp.MustCompile(`fqName: "socketio_([a-z_]+)"`).FindStringSubmatch(d.String())[1])
	}
	if len(names) < 20 {
		t.Fatal(names)
	}
	for _, page := range []string{"../docs/metrics.md", "../docs/operations.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if !strings.Contains(string(text), "`"+name+"`") {
				t.Errorf("%s does not name %s", page, name)
			}
		}
	}
}
