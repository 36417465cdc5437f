// Hostile is ten minutes of attacks on examples/production, with honest clients that must not notice. README.md has the rules.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	if os.Getenv(attackAs) != "" {
		if err := runAttack(os.Args[1:], os.Stdout); err != nil {
			log.Fatal(err)
		}
		return
	}
	lasts := flag.Duration("time", 15*time.Second, "of an attack, where it does not need longer")
	quiet := flag.Duration("quiet", 60*time.Second, "before and after the attacks")
	pause := flag.Duration("pause", 5*time.Second, "in quiet, before each attack")
	warm := flag.Duration("warm", inService, "before that")
	scale := flag.Float64("scale", 1, "of how many attackers there are")
	only := flag.String("only", "", "attacks to make, by parts of their names with commas between; all by default")
	out := flag.String("out", "", "write HOSTILE.md and hostile.svg to `DIR`")
	keep := flag.String("keep", "", "keep the server's log, its data and profiles in `DIR`")
	times := flag.Int("times", 2, "all attacks are made, one time after the other")
	behind := flag.Bool("behind", false, "the deployed nginx, and on PostgreSQL; the files written are then NGINX.md and nginx.svg")
	flag.Parse()
	if err := hostile(siege{lasts: *lasts, long: true, quiet: *quiet, pause: *pause, warm: *warm, times: *times, scale: *scale, members: 96, pages: 4, pace: 10 * time.Millisecond, only: *only, patience: 2 * time.Second, behind: *behind, out: os.Stdout}, *keep, *out); err != nil {
		log.Fatal(err)
	}
}

func hostile(s siege, keep, out string) error {
	dir := keep
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "hostile"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // logs of a test
		return err
	}
	bin, err := build(dir)
	if err != nil {
		return err
	}
	o, err := s.run(bin, dir)
	if o == nil {
		return err
	}
	if out != "" && err == nil {
		err = write(out, o)
	}
	wrong := o.verdict()
	for _, w := range wrong {
		fmt.Fprintln(s.out, "WRONG:", w)
	}
	if len(wrong) > 0 {
		err = errors.Join(err, fmt.Errorf("%d things are wrong", len(wrong)))
	}
	return err
}

// recoveryWindow is for how long the example keeps what it has sent, and clients that have gone: from then on memory is as it stays.
const recoveryWindow = 2 * time.Minute

// inService is how long a server must have been there until its memory is what it stays without attacks: two minutes of events are kept, SQLite's pages are in memory, and 65,536
// keys that it writes later, which at 100 messages a second takes eleven minutes.
const inService = 12 * time.Minute

// deadlines is longer than any of the server's own (10 s), with which slow attacks end.
const deadlines = 13 * time.Second

// chosen are the attacks that s.only names.
func (s *siege) chosen() []phase {
	if s.together {
		return []phase{{Name: "slow attacks", attacks: slow, lasts: deadlines}, {Name: "floods", attacks: floods}, {Name: "at the doors", attacks: doors}}
	}
	wanted := func(name string) bool {
		for part := range strings.SplitSeq(s.only, ",") {
			if strings.Contains(name, strings.TrimSpace(part)) {
				return true
			}
		}
		return false
	}
	byName := map[string]attack{}
	var list []phase
	for _, a := range attacks {
		byName[a.name] = a
		if wanted(a.name) {
			list = append(list, phase{Name: a.name, attacks: []attack{a}})
		}
	}
	for _, p := range pairs {
		if name := p[0] + " + " + p[1]; wanted(name) {
			list = append(list, phase{Name: name, attacks: []attack{byName[p[0]], byName[p[1]]}})
		}
	}
	return list
}
