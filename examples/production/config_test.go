package main

import (
	"strings"
	"testing"
	"time"
)

const secret = "a secret of thirty-two bytes or more"

func TestConfig(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		env  map[string]string
		want string // of the error; empty: none
	}{
		"nothing":               {map[string]string{}, "JWT_SECRET is missing"},
		"a secret":              {map[string]string{"JWT_SECRET": secret}, ""},
		"nobody is asked":       {map[string]string{"AUTH": "none"}, ""},
		"a short secret":        {map[string]string{"JWT_SECRET": "short"}, ""}, // a warning
		"another auth":          {map[string]string{"AUTH": "off", "JWT_SECRET": secret}, `AUTH is "off"`},
		"redis":                 {map[string]string{"AUTH": "none", "REDIS_URL": "redis://redis"}, ""},
		"redis and a node":      {map[string]string{"AUTH": "none", "REDIS_URL": "redis://redis", "NODE_ADDRESS": "http://10.0.0.1:8000", "CLUSTER_KEY": secret}, ""},
		"a node without a key":  {map[string]string{"AUTH": "none", "REDIS_URL": "redis://redis", "NODE_ADDRESS": "http://10.0.0.1:8000"}, "go together"},
		"a node without redis":  {map[string]string{"AUTH": "none", "NODE_ADDRESS": "http://10.0.0.1:8000", "CLUSTER_KEY": secret}, "needs REDIS_URL"},
		"any origin":            {map[string]string{"AUTH": "none", "ALLOWED_ORIGINS": "*"}, ""}, // a token is not sent unasked, as a cookie is
		"a level that is none":  {map[string]string{"AUTH": "none", "LOG_LEVEL": "loud"}, "LOG_LEVEL"},
		"a drain without unit":  {map[string]string{"AUTH": "none", "DRAIN": "25"}, "DRAIN"},
		"connects that are not": {map[string]string{"AUTH": "none", "CONNECTS_PER_SECOND": "-1"}, "CONNECTS_PER_SECOND"},
		"two at once":           {map[string]string{"LOG_LEVEL": "loud"}, "JWT_SECRET is missing"},
	} {
		_, err := fromEnv(func(name string) string { return c.env[name] })
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	c, err := fromEnv(func(name string) string {
		return map[string]string{"JWT_SECRET": secret, "ALLOWED_ORIGINS": "https://a.example, https://b.example"}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.addr != "127.0.0.1:8000" || c.drain != 25*time.Second || c.connects != 300 || len(c.proxies) != 6 || len(c.origins) != 2 || c.anybody {
		t.Errorf("%+v", c)
	}
}
