// Package simulation lives a chat through, again and again: Hubs, stores and clients in one process, with a clock that is not real and with faults at
// every step. It consists of tests.
//
//	go test ./tests/simulation                                                            some dozens of seeds
//	SEEDS=5000 go test ./tests/simulation -run TestSimulation -timeout 30m                seeds 1 to 5000; FIRST=n begins at n
//	SEED=17 go test ./tests/simulation -run TestSimulation -v                             one seed, with its whole trace
//	WITHOUT=unknown,foreign …                                                             leaves kinds of faults out: see kinds
//	FAILURES=50 TRACE=3000 …                                                              goes on after a failure; shows more of its trace
//	MUTANTS=1 go test ./tests/simulation -run TestClusterMutants                          takes parts out of the library's cluster, one by one, and wants each missed
//
// TestCluster is the same with two or three servers that are nodes of a cluster (clustertest.Bus). Nodes are cut off from it, for less than their lease or for more, one or all;
// killed, shut down, and replaced; told that a publication failed which was taken. In the worlds that are lossy publications get lost, and streams are trimmed: there a host's emits may be
// missing, and nothing else. Pages come back to any node. Then, besides: every page gets what any server has saved or emitted, once; what it
// was told of who is in a room is the truth; and where nothing was the matter for a while, who comes back has its session on whichever node.
//
// Each seed is a bubble of testing/synctest. It draws its settings (which store, one or two servers, how many pages and rooms, sizes of buffers, the
// recovery's window), and then some hundred steps; a step does a few things at once, lets time pass, and then everybody takes what has come.
// Servers are Hubs on one store, one after another or side by side; they are killed, and shut down. The store fails, hangs and answers
// late; what it says to have failed may be saved. Pages speak Socket.IO 5 over connections in memory, which are cut between frames, stall, and vanish
// without a word. Pages send until they are acked, join, leave, come back with recovery or without, and read history where docs/events.md says
// that they must. At the end faults cease; then all invariants must hold (their list is in trace_test.go).
//
// # What is the same in each run of a seed
//
// Every decision is drawn from the seed and a number: those of a step from the step's, those of the store from the call's, those of a page from how many it
// has made. All are made on the driver's goroutine, with nothing running beside it, but for those of the store's calls. So the settings, the faults
// and when they come are the same in each run. The order in which goroutines run between two steps is the scheduler's: which of two messages that
// were sent at once comes first, how they are batched, and so which entries a store's fault hits, may differ, and a failure may take several runs of its seed.
package simulation
