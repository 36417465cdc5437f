package deploy_test

import (
	"maps"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

const nodeImage = "chat-production"

// compose is the compose file as docker compose reads it: its schema, its variables, its merged keys.
func compose(t *testing.T) *types.Project {
	t.Helper()
	p, err := load(t, secrets())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func secrets() types.Mapping {
	return types.Mapping{"JWT_SECRET": "s", "POSTGRES_PASSWORD": "p", "GRAFANA_PASSWORD": "g", "CLUSTER_KEY": "k"}
}

func load(t *testing.T, env types.Mapping) (*types.Project, error) {
	dir, err := filepath.Abs(production)
	if err != nil {
		t.Fatal(err)
	}
	return loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir: dir, Environment: env, ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(dir, "compose.yaml")}},
	}, func(o *loader.Options) { o.Profiles = []string{"*"} })
}

// mounted is the folder or file of the repository that a service has at path.
func mounted(t *testing.T, p *types.Project, service, path string) string {
	t.Helper()
	for _, v := range p.Services[service].Volumes {
		if v.Type == types.VolumeTypeBind && v.Target == path {
			return v.Source
		}
	}
	t.Fatalf("%s has nothing mounted at %s", service, path)
	return ""
}

func TestComposeNeedsItsSecrets(t *testing.T) {
	t.Parallel()
	for _, without := range slices.Sorted(maps.Keys(secrets())) {
		env := secrets()
		delete(env, without)
		if _, err := load(t, env); err == nil {
			t.Errorf("it starts without %s", without)
		}
	}
}

func TestComposeFiles(t *testing.T) {
	t.Parallel()
	for name, s := range compose(t).Services {
		for _, v := range s.Volumes {
			if _, err := os.Stat(v.Source); v.Type == types.VolumeTypeBind && err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if v.Type == types.VolumeTypeBind && !v.ReadOnly {
				t.Errorf("%s may write to %s", name, v.Source)
			}
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s is open to the network at %s", name, port.Published)
			}
		}
		if s.Build == nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if want, err := filepath.Abs(top); err != nil || s.Build.Context != want {
			t.Errorf("%s is built in %s, not in %s: the modules beside it are missing", name, s.Build.Context, want)
		}
	}
}

func TestComposeNodes(t *testing.T) {
	t.Parallel()
	p := compose(t)
	var nodes int
	for name, s := range p.Services {
		if s.Image != nodeImage {
			continue
		}
		nodes++
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s has more rights than it needs", name)
		}
		drain, err := time.ParseDuration(*s.Environment["DRAIN"])
		if err != nil || s.StopGracePeriod == nil || time.Duration(*s.StopGracePeriod) < drain+10*time.Second {
			t.Errorf("%s drains for %s and is killed after %v", name, drain, s.StopGracePeriod)
		}
		if s.DependsOn["postgres"].Condition != types.ServiceConditionHealthy {
			t.Errorf("%s does not wait for PostgreSQL", name)
		}
		for v := range s.Environment {
			if !documented(t, v) {
				t.Errorf("%s: %s is not in the README", name, v)
			}
		}
	}
	if nodes != 2 {
		t.Errorf("%d nodes", nodes)
	}
}

func documented(t *testing.T, variable string) bool {
	return regexp.MustCompile("`" + variable + "`").MatchString(read(t, production+"/README.md"))
}

// The nodes believe nginx, and nobody else, about addresses; nginx finds the nodes where they are.
func TestComposeNetwork(t *testing.T) {
	t.Parallel()
	p := compose(t)
	subnet := netip.MustParsePrefix(p.Networks["inside"].Ipam.Config[0].Subnet)
	proxy := p.Services["nginx"].Networks["inside"].Ipv4Address
	for _, n := range []struct{ service, variable string }{{"chat-1", "CHAT_1"}, {"chat-2", "CHAT_2"}} {
		s := p.Services[n.service]
		at := s.Networks["inside"].Ipv4Address
		if got := *p.Services["nginx"].Environment[n.variable]; got != at+":8000" {
			t.Errorf("%s is %s, and %s at %s", n.variable, got, n.service, at)
		}
		if !subnet.Contains(netip.MustParseAddr(at)) || !subnet.Contains(netip.MustParseAddr(proxy)) {
			t.Errorf("%s or %s is not in %s", at, proxy, subnet)
		}
		if got := *s.Environment["NODE_ADDRESS"]; got != "http://"+at+":8000" {
			t.Errorf("%s says that it is at %s, and is at %s", n.service, got, at)
		}
		if got, err := url.Parse(*s.Environment["REDIS_URL"]); err != nil || !hasService(p, got.Hostname(), "inside") {
			t.Errorf("%s looks for Redis at %v", n.service, got)
		}
		if got := *s.Environment["TRUSTED_PROXIES"]; got != proxy {
			t.Errorf("%s trusts %s; nginx is %s", n.service, got, proxy)
		}
	}
}

// The image fills in what it is told to and leaves nginx's own variables alone.
func TestNginxVariables(t *testing.T) {
	t.Parallel()
	p := compose(t)
	env := p.Services["nginx"].Environment
	filter := regexp.MustCompile(*env["NGINX_ENVSUBST_FILTER"])
	file := read(t, mounted(t, p, "nginx", "/etc/nginx/templates/nginx.conf.template"))
	for _, m := range regexp.MustCompile(`\$\{(\w+)\}`).FindAllStringSubmatch(file, -1) {
		if env[m[1]] == nil || !filter.MatchString(m[1]) {
			t.Errorf("${%s} is not filled in", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`\$(\w+)`).FindAllStringSubmatch(file, -1) {
		if filter.MatchString(m[1]) {
			t.Errorf("$%s is nginx's, and would be filled in", m[1])
		}
	}
	if got := *env["NGINX_ENVSUBST_OUTPUT_DIR"]; got != "/etc/nginx" {
		t.Errorf("the file is written to %s, where nginx does not read it", got)
	}
}

func hasService(p *types.Project, name, network string) bool {
	s, ok := p.Services[name]
	if !ok {
		return false
	}
	_, ok = s.Networks[network]
	return ok
}
