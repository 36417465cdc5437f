// Chaos is the cut test: clients of the real npm package over connections that break, stall and are refused, a server that is killed and a
// database that is restarted, and at the end nothing may be lost, doubled or out of order. Besides it is the restart under load, in which the
// server is replaced in order. README.md has the rules.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"strings"
	"time"
)

func main() {
	seed := flag.Uint64("seed", rand.Uint64()&0xffffffff, "of every random choice; a new one by default")
	lasts := flag.Duration("time", 3*time.Minute, "of a run with all faults; one with cuts and stalls only takes a third")
	only := flag.String("only", "", "runs to do, by name with commas between; all by default. There is also memory, which has to fail")
	out := flag.String("out", "", "write RESULTS.md and chaos.svg, and ROLLOUT.md and rollout.svg, to `DIR`")
	keep := flag.Bool("keep", false, "keep the logs of runs in which nothing was wrong too")
	cluster := flag.Bool("cluster", false, "do the runs of a cluster, and no others: CLUSTER.md and cluster.svg")
	clients := flag.Int("clients", 0, "of a restart under load, 2000 by default, or of a cluster, 600")
	rate := flag.Float64("rate", 50, "messages a second of all clients of such a run")
	restarts := flag.Int("restarts", 3, "of a restart under load")
	flag.Parse()
	if *clients == 0 {
		*clients = map[bool]int{false: 2000, true: 600}[*cluster]
	}
	if *cluster {
		if err := clusters(clustered{seed: *seed, clients: *clients, rate: *rate}, *only, *out, *keep); err != nil {
			log.Fatal(err)
		}
		return
	}
	known, errCut := chaos(*seed, *lasts, *only, *out, *keep)
	rolls := rollouts(rollout{seed: *seed, clients: *clients, rate: *rate, restarts: *restarts}, *only)
	if known += len(rolls); known == 0 {
		log.Fatalf("-only %s: there is no such run", *only)
	}
	if err := errors.Join(errCut, rollOut(rolls, *out, *keep)); err != nil {
		log.Fatal(err)
	}
}

// chosen tells whether a run is among those of -only.
func chosen(name, only string) bool { return strings.Contains(","+only+",", ","+name+",") }

// chaos does the runs of the cut test, and returns how many those are.
func chaos(seed uint64, lasts time.Duration, only, out string, keep bool) (int, error) {
	var outcomes []*outcome
	var errs []error
	all := trials(seed, lasts, only)
	for _, t := range all {
		o, err := t.conduct(os.Stdout, keep)
		if o != nil {
			outcomes = append(outcomes, o)
		}
		errs = append(errs, err)
	}
	if len(outcomes) > 0 {
		printTable(os.Stdout, outcomes)
		if out != "" {
			errs = append(errs, writeResults(out, outcomes))
		}
	}
	return len(all), errors.Join(errs...)
}

// rollouts are like r, with each database.
func rollouts(r rollout, only string) (list []*rollout) {
	for _, store := range []string{"postgres", "sqlite"} {
		name := "rollout-" + store
		if only == "" || chosen(name, only) {
			one := r
			one.name, one.backend, one.steady, one.nodes = name, store, 10*time.Second, 2
			list = append(list, &one)
		}
	}
	return list
}

func rollOut(list []*rollout, out string, keep bool) error {
	var outcomes []*rolled
	var errs []error
	for _, r := range list {
		o, err := r.conduct(os.Stdout, keep)
		if o != nil {
			outcomes = append(outcomes, o)
		}
		errs = append(errs, err)
	}
	if out != "" && len(outcomes) > 0 {
		errs = append(errs, writeRollout(out, outcomes))
	}
	return errors.Join(errs...)
}

// clusters does the runs of a cluster, at length.
func clusters(like clustered, only, out string, keep bool) error {
	var outcomes []*clusterOutcome
	var errs []error
	for _, name := range programmeNames {
		if only != "" && !chosen(name, only) {
			continue
		}
		r, p := like, programmes[name]
		r.name, r.redis, r.steps, r.rooms, r.steady, r.nodes = name, p.redis, p.long, 20, 5*time.Second, 2
		o, err := r.conduct(os.Stdout, keep)
		if o != nil {
			outcomes = append(outcomes, o)
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return fmt.Errorf("-only %s: there is no such run of a cluster", only)
	}
	if out != "" && len(outcomes) > 0 {
		errs = append(errs, writeCluster(out, outcomes))
	}
	return errors.Join(errs...)
}

// trials are the runs of the long form.
func trials(seed uint64, lasts time.Duration, only string) []*trial {
	all := func(kills, restarts int) schedule {
		return schedule{lasts: lasts, groups: groupsCount, cutEvery: 10 * time.Second, cut: 2 * time.Second, kills: kills, restarts: restarts}
	}
	kills := max(1, int(lasts/(30*time.Second)))
	network := all(0, 0)
	network.lasts = lasts / 3
	orderly := network
	orderly.orderly = true
	list := []*trial{
		{name: "sqlite", backend: "sqlite", schedule: all(kills, 0)},
		{name: "postgres", backend: "postgres", schedule: all(kills, max(2, kills*2/3))},
		{name: "node", backend: "node", schedule: all(kills, 0)},
		{name: "sqlite-network", backend: "sqlite", schedule: network},
		{name: "node-network", backend: "node", schedule: network},
		{name: "node-orderly", backend: "node", schedule: orderly},
		{name: "node-keys-orderly", backend: "node-keys", schedule: orderly},
		{name: "memory", backend: "memory", schedule: all(kills, 0)},
	}
	var some []*trial
	for _, t := range list {
		t.seed, t.rate, t.lobby = seed, 40, 0.25
		if only == "" && t.name != "memory" || chosen(t.name, only) {
			some = append(some, t)
		}
	}
	return some
}
