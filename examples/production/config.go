package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// config is the environment: README.md has the table.
type config struct {
	addr      string
	database  string // empty: memory
	anybody   bool   // AUTH=none
	secret    []byte
	issuer    string
	audience  string
	broadcast string // the role that POST /api/broadcast asks for; empty: none
	revoke    string // the same of POST /api/revoke; there always is one
	origins   []string
	proxies   []string
	connects  int // a second from one address; 0: no limit
	drain     time.Duration
	level     slog.Level

	redis       string // empty: no cluster
	nodeAddress string // where the other nodes reach this one
	clusterKey  []byte
}

// private are the networks that containers and pods are in: RFC 1918, RFC 4193, and loopback.
const private = "127.0.0.0/8,::1/128,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7"

const secretLeast = 32 // bytes: RFC 7518, section 3.2, for HS256

func fromEnv(get func(string) string) (config, error) {
	var errs []error
	check := func(err error) { errs = append(errs, err) }
	or := func(name, otherwise string) string {
		if v := get(name); v != "" {
			return v
		}
		return otherwise
	}
	c := config{
		addr: or("ADDR", "127.0.0.1:8000"), database: get("DATABASE_URL"), anybody: get("AUTH") == "none", secret: []byte(get("JWT_SECRET")),
		issuer: get("JWT_ISSUER"), audience: get("JWT_AUDIENCE"), broadcast: get("BROADCAST_ROLE"), revoke: or("REVOKE_ROLE", "admin"),
		origins: list(get("ALLOWED_ORIGINS")), proxies: list(or("TRUSTED_PROXIES", private)),
	}
	var err error
	if c.connects, err = strconv.Atoi(or("CONNECTS_PER_SECOND", "300")); err != nil || c.connects < 0 {
		check(errors.New("CONNECTS_PER_SECOND must be a number, 0 for no limit"))
	}
	if c.drain, err = time.ParseDuration(or("DRAIN", "25s")); err != nil || c.drain <= 0 {
		check(errors.New("DRAIN must be a duration such as 25s"))
	}
	if err := c.level.UnmarshalText([]byte(or("LOG_LEVEL", "info"))); err != nil {
		check(errors.New("LOG_LEVEL must be debug, info, warn or error"))
	}
	check(checkAuth(get("AUTH"), c.secret))
	c.redis, c.nodeAddress, c.clusterKey = get("REDIS_URL"), get("NODE_ADDRESS"), []byte(get("CLUSTER_KEY"))
	check(checkCluster(c))
	return c, errors.Join(errs...)
}

// checkAuth: a chat that lets anybody in must have been told so.
func checkAuth(mode string, secret []byte) error {
	switch {
	case mode == "none":
		return nil
	case mode != "" && mode != "jwt":
		return fmt.Errorf("AUTH is %q, neither jwt (the default) nor none", mode)
	case len(secret) == 0:
		return errors.New("JWT_SECRET is missing. For trying it out, AUTH=none lets anybody in")
	}
	return nil
}

// checkCluster: what would quietly do nothing is said. The Hub itself looks at what an address and a key have to be, and refuses a store that other nodes cannot share.
func checkCluster(c config) error {
	node := c.nodeAddress != "" || len(c.clusterKey) > 0
	switch {
	case c.redis == "" && node:
		return errors.New("NODE_ADDRESS and CLUSTER_KEY are of a cluster, which needs REDIS_URL")
	case node && (c.nodeAddress == "" || len(c.clusterKey) == 0):
		return errors.New("NODE_ADDRESS and CLUSTER_KEY go together: who passes requests on has to prove that it is a node")
	}
	return nil
}

func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}
