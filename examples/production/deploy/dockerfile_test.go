package deploy_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// stages are the Dockerfile's as BuildKit reads them, with its linter's complaints as failures.
func stages(t *testing.T) []instructions.Stage {
	t.Helper()
	tree, err := parser.Parse(strings.NewReader(read(t, production+"/Dockerfile")))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range tree.Warnings {
		t.Errorf("Dockerfile: %s", w.Short)
	}
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, message string, at []parser.Range) {
		t.Errorf("Dockerfile: %s: %s %v", rule, message, at)
	}})
	all, _, err := instructions.Parse(tree.AST, lint)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestDockerfile(t *testing.T) {
	t.Parallel()
	all := stages(t)
	last := all[len(all)-1]
	if !strings.HasPrefix(last.BaseName, "gcr.io/distroless/static") && last.BaseName != "scratch" {
		t.Errorf("the image is made of %s", last.BaseName)
	}
	var user, port, entry string
	var health []string
	env := map[string]string{}
	for _, c := range last.Commands {
		switch c := c.(type) {
		case *instructions.UserCommand:
			user = c.User
		case *instructions.ExposeCommand:
			port = c.Ports[0]
		case *instructions.EnvCommand:
			for _, kv := range c.Env {
				env[kv.Key] = kv.Value
			}
		case *instructions.EntrypointCommand:
			entry = c.CmdLine[0]
			if c.PrependShell {
				t.Error("ENTRYPOINT wants a shell, and there is none")
			}
		case *instructions.HealthCheckCommand:
			health = c.Health.Test
		case *instructions.RunCommand:
			t.Error("the last stage runs something, and there is nothing in it to run")
		}
	}
	if uid, err := strconv.Atoi(strings.Split(user, ":")[0]); err != nil || uid == 0 {
		t.Errorf("USER is %q: a number that is not root's lets an orchestrator check it", user)
	}
	if env["ADDR"] != ":"+port {
		t.Errorf("ADDR %q, EXPOSE %q", env["ADDR"], port)
	}
	if !slices.Equal(health, []string{"CMD", entry, "healthy"}) {
		t.Errorf("HEALTHCHECK %q: without a shell it is the binary's own", health)
	}
}

// dockerignore tells what is kept out of the build.
func dockerignore(t *testing.T) func(path string) bool {
	t.Helper()
	patterns, err := ignorefile.ReadAll(strings.NewReader(read(t, production+"/Dockerfile.dockerignore")))
	if err != nil {
		t.Fatal(err)
	}
	ignore, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	return func(path string) bool {
		no, err := ignore.MatchesOrParentMatches(path)
		if err != nil {
			t.Fatal(err)
		}
		return no
	}
}

// What is copied is there, and gets through the .dockerignore; what the server is built of is copied.
func TestDockerfileCopies(t *testing.T) {
	t.Parallel()
	ignored := dockerignore(t)
	var copied []string
	names := map[string]bool{}
	for _, s := range stages(t) {
		for _, c := range s.Commands {
			c, ok := c.(*instructions.CopyCommand)
			if !ok {
				continue
			}
			if c.From != "" {
				if !names[c.From] {
					t.Errorf("COPY --from=%s: no such stage before it", c.From)
				}
				continue
			}
			for _, source := range c.SourcePaths {
				found, err := filepath.Glob(filepath.Join(top, source))
				if err != nil || len(found) == 0 {
					t.Errorf("COPY %s: nothing is there", source)
				}
				if probe := strings.TrimPrefix(found[0], top+"/"); ignored(probe) {
					t.Errorf("COPY %s: the .dockerignore keeps it out", source)
				}
				copied = append(copied, strings.TrimSuffix(source, "/"))
			}
		}
		names[s.Name] = true
	}
	for _, junk := range []string{"examples/production/web/node_modules/vue", "examples/production/web/dist/index.html", ".git", "chat_test.go", "benchmarks/x.go"} {
		if !ignored(junk) {
			t.Errorf("%s goes into the build", junk)
		}
	}
	for line := range strings.Lines(read(t, production+"/go.mod")) {
		_, path, ok := strings.Cut(line, "=> ../../")
		if path = strings.TrimSpace(path); ok && !slices.ContainsFunc(copied, func(c string) bool { return path == c || strings.HasPrefix(path, c+"/") }) {
			t.Errorf("go.mod needs %s, which is not copied", path)
		}
	}
}

// The stage that builds the server has all that the server is built of: what it copies is copied here too, and resolved without the workspace.
func TestDockerfileBuilds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ignored := dockerignore(t)
	for _, s := range stages(t) {
		for _, c := range s.Commands {
			if c, ok := c.(*instructions.CopyCommand); ok && s.Name == "server" && c.From == "" {
				for _, source := range c.SourcePaths {
					copyTree(t, dir, source, ignored)
				}
			}
		}
	}
	cmd := exec.Command("go", "list", "-deps", ".")
	cmd.Dir = filepath.Join(dir, "examples/production")
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOFLAGS=-mod=readonly")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("go list: %v\n%s", err, out)
	}
}

func copyTree(t *testing.T, to, source string, ignored func(string) bool) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(top, source))
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range found {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			name := strings.TrimPrefix(path, top+"/")
			switch {
			case err != nil:
				return err
			case d.IsDir() && ignored(name):
				return fs.SkipDir
			case d.IsDir():
				return os.MkdirAll(filepath.Join(to, name), 0o755)
			case ignored(name):
				return nil
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(to, name), b, 0o600)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
