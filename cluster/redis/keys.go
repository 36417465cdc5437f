package redis

import "strconv"

// keys are the names of what is in Redis. Those with {nodes} are in one slot of a Redis Cluster, since a script has them all.
type keys struct {
	count                        string   // string: how many streams there are
	streams                      []string // streams of entries: see appendPublication
	leases, info, graves, change string   // see beat
	marks, marked, kept          string   // followed by a mark's key, a lease's name, a kept value's key
	all, to                      string   // channels: of all nodes, and, followed by its tag, of one
}

func newKeys(prefix string, streams int) keys {
	p := prefix + ":"
	k := keys{
		count:  p + "streams",
		leases: p + "{nodes}:leases", info: p + "{nodes}:info", graves: p + "{nodes}:graves", change: p + "{nodes}:change",
		marks: p + "m:", marked: p + "k:", kept: p + "kept:",
		all: p + "all", to: p + "to:",
	}
	for i := range streams {
		k.streams = append(k.streams, p+"s:"+strconv.Itoa(i))
	}
	return k
}

// node are the keys of the scripts about leases.
func (k *keys) node() []string { return []string{k.leases, k.info, k.graves, k.change} }
