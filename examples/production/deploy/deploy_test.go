// Package deploy_test reads the files of a deployment by the parsers of the programs that they are for, where those are Go, and looks for what these
// cannot know: that the files fit each other and the repository. That nginx's file works is tested with nginx, one folder up.
package deploy_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const (
	production = ".."       // examples/production
	top        = "../../.." // of the repository: the image's build context
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// decode refuses fields that v does not have: a misspelt setting does nothing, silently.
func decode(t *testing.T, path string, v any) {
	t.Helper()
	d := yaml.NewDecoder(strings.NewReader(read(t, path)))
	d.KnownFields(true)
	if err := d.Decode(v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func TestPrometheus(t *testing.T) {
	t.Parallel()
	var c struct {
		Global struct {
			Scrape   string `yaml:"scrape_interval"`
			Evaluate string `yaml:"evaluation_interval"`
		}
		Jobs []struct {
			Name   string                       `yaml:"job_name"`
			Path   string                       `yaml:"metrics_path"` // empty: /metrics
			Static []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	decode(t, "prometheus.yml", &c)
	if len(c.Jobs) != 1 || len(c.Jobs[0].Static) != 1 || c.Jobs[0].Path != "" {
		t.Fatalf("%+v", c)
	}
	p := compose(t)
	var nodes []string
	for name, s := range p.Services {
		if s.Image == nodeImage {
			nodes = append(nodes, name+":8000") // the Dockerfile's ADDR: see TestDockerfile
		}
	}
	slices.Sort(nodes)
	if got := c.Jobs[0].Static[0].Targets; !slices.Equal(got, nodes) {
		t.Errorf("targets %q, nodes %q", got, nodes)
	}
}

func TestGrafana(t *testing.T) {
	t.Parallel()
	var sources struct {
		Version int `yaml:"apiVersion"`
		List    []struct {
			Name, UID, Type, Access, URL string
			Default                      bool `yaml:"isDefault"`
		} `yaml:"datasources"`
	}
	decode(t, "grafana/datasource.yml", &sources)
	p := compose(t)
	if len(sources.List) != 1 || sources.Version != 1 || sources.List[0].Type != "prometheus" || sources.List[0].URL != "http://prometheus:9090" {
		t.Fatalf("%+v", sources)
	}
	if _, ok := p.Services["prometheus"]; !ok {
		t.Error("there is no service prometheus")
	}
	var boards struct {
		Version int `yaml:"apiVersion"`
		List    []struct {
			Name, Type string
			Options    struct{ Path string }
		} `yaml:"providers"`
	}
	decode(t, "grafana/dashboards.yml", &boards)
	if len(boards.List) != 1 || boards.Version != 1 || boards.List[0].Type != "file" {
		t.Fatalf("%+v", boards)
	}
	dir := mounted(t, p, "grafana", boards.List[0].Options.Path)
	home := *p.Services["grafana"].Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
	board := read(t, filepath.Join(dir, strings.TrimPrefix(home, boards.List[0].Options.Path)))
	// The dashboard's data source is a variable of the type, or the uid that is provisioned.
	for _, m := range regexp.MustCompile(`"uid":\s*"([^"]*)"`).FindAllStringSubmatch(board, -1) {
		if m[1] != sources.List[0].UID && !strings.HasPrefix(m[1], "$") && !strings.HasPrefix(m[1], "-- ") && !strings.HasPrefix(m[1], "chat") && !strings.HasPrefix(m[1], "parley") {
			t.Errorf("the dashboard has the data source %q, provisioned is %q", m[1], sources.List[0].UID)
		}
	}
}
