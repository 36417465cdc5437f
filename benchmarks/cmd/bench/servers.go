package main

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A server is one column of the table.
type server struct {
	name    string
	title   string
	dialect string
	// build makes it ready; it runs in dir.
	dir   string
	build [][]string
	// argv starts it; the first element is looked up in the folder of
	// built binaries if it has no slash and begins with "@".
	argv []string
	// module or query tells the version.
	module string
	query  []string
}

// own are in this module, peers in modules of their own.
var servers = []server{
	goServer("bare", "bare Go server", "eio4", ".", "./servers/bare", ""),
	goServer("chat", "**this library**", "eio4", ".", "./servers/chat", ""),
	{
		name: "node", title: "Node socket.io", dialect: "eio4", dir: "peers/node",
		build: [][]string{{"npm", "ci", "--omit=optional", "--no-audit", "--no-fund"}},
		argv:  []string{"node", "peers/node/server.mjs"},
		query: []string{"node", "-p", "require('./peers/node/node_modules/socket.io/package.json').version"},
	},
	goServer("centrifuge", "centrifuge (Go)", "centrifuge", "peers/centrifuge", ".", "github.com/centrifugal/centrifuge"),
	goServer("zishang", "zishang520 (Go)", "eio4", "peers/zishang", ".", "github.com/zishang520/socket.io/servers/socket/v3"),
	goServer("gosocketio", "go-socket.io", "eio3", "peers/gosocketio", ".", "github.com/googollee/go-socket.io"),
	{
		name: "python", title: "python-socketio", dialect: "eio4", dir: ".",
		build: [][]string{{"make", "-s", "python"}},
		argv:  []string{"/usr/bin/python3", "peers/python/server.py"},
		query: []string{"dpkg-query", "-f", "${Version}", "-W", "python3-socketio"},
	},
}

// libs are minimal servers on WebSocket libraries: the reason of a choice.
var libs = []server{
	libServer("gobwas", "gobwas/ws", "github.com/gobwas/ws"),
	libServer("gws", "lxzan/gws", "github.com/lxzan/gws"),
	libServer("coder", "coder/websocket", "github.com/coder/websocket"),
	libServer("gorilla", "gorilla/websocket", "github.com/gorilla/websocket"),
}

func goServer(name, title, dialect, dir, pkg, module string) server {
	return server{
		name: name, title: title, dialect: dialect, dir: dir, module: module,
		build: [][]string{{"go", "build", "-o", "@" + name, pkg}},
		argv:  []string{"@" + name},
	}
}

func libServer(name, title, module string) server {
	return goServer("lib-"+name, title, "plain", "peers/libs", "./"+name, module)
}

// expand replaces @name by the path of the built binary.
func (b *bench) expand(argv []string) []string {
	out := make([]string, len(argv))
	for i, a := range argv {
		if name, ok := strings.CutPrefix(a, "@"); ok {
			a = filepath.Join(b.bin, name)
		}
		out[i] = a
	}
	return out
}

// prepare builds a server. Modules stand alone here: a workspace above them
// lists only some of them.
func (b *bench) prepare(ctx context.Context, s server) error {
	for _, argv := range s.build {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
		argv = b.expand(argv)
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Dir = filepath.Join(b.root, s.dir)
		cmd.Env = append(os.Environ(), "GOWORK=off")
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(argv[:1], " "), err, lastLine(out))
		}
	}
	return nil
}

// version says what was measured, "" where that is this tree.
func (b *bench) version(s server) string {
	if s.query != nil {
		cmd := exec.Command(s.query[0], s.query[1:]...)
		cmd.Dir = b.root
		out, err := cmd.Output()
		if err != nil {
			return "unknown"
		}
		return strings.TrimSpace(string(out))
	}
	if s.module == "" {
		return ""
	}
	info, err := buildinfo.ReadFile(filepath.Join(b.bin, s.name))
	if err != nil {
		return "unknown"
	}
	for _, d := range info.Deps {
		if d.Path == s.module {
			return d.Version
		}
	}
	return "unknown"
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

// choose returns those of all whose names are listed; an empty list is all.
func choose(all []server, only string) ([]server, error) {
	if only == "" {
		return all, nil
	}
	var out []server
	for name := range strings.SplitSeq(only, ",") {
		found := false
		for _, s := range all {
			if s.name == name {
				out, found = append(out, s), true
			}
		}
		if !found {
			return nil, errors.New("no server " + name)
		}
	}
	return out, nil
}

// chooseLog does the same with the parts of the log; an empty list is nil.
func chooseLog(only string) ([]string, error) {
	if only == "" {
		return nil, nil
	}
	parts := strings.Split(only, ",")
	for _, part := range parts {
		if !slices.Contains(logParts, part) {
			return nil, errors.New("the log has no part " + part)
		}
	}
	return parts, nil
}
