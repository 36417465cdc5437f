// Chaos is the cut test: clients of the real npm package over connections that break, stall and are refused, a server that is killed and a
// database that is restarted, and at the end nothing may be lost, doubled or out of order. README.md has the rules.
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
	out := flag.String("out", "", "write RESULTS.md and chaos.svg to `DIR`")
	keep := flag.Bool("keep", false, "keep the logs of runs in which nothing was wrong too")
	flag.Parse()
	if err := chaos(*seed, *lasts, *only, *out, *keep); err != nil {
		log.Fatal(err)
	}
}

func chaos(seed uint64, lasts time.Duration, only, out string, keep bool) error {
	var outcomes []*outcome
	var errs []error
	for _, t := range trials(seed, lasts, only) {
		o, err := t.conduct(os.Stdout, keep)
		if o != nil {
			outcomes = append(outcomes, o)
		}
		errs = append(errs, err)
	}
	if len(outcomes) == 0 && errors.Join(errs...) == nil {
		return fmt.Errorf("-only %s: there is no such run", only)
	}
	printTable(os.Stdout, outcomes)
	if out != "" && len(outcomes) > 0 {
		errs = append(errs, writeResults(out, outcomes))
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
	var chosen []*trial
	for _, t := range list {
		t.seed, t.rate, t.lobby = seed, 40, 0.25
		if only == "" && t.name != "memory" || strings.Contains(","+only+",", ","+t.name+",") {
			chosen = append(chosen, t)
		}
	}
	return chosen
}
