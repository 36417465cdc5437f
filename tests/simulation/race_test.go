//go:build race

package simulation_test

const (
	defaultSeeds = 20 // the race detector makes each ten times as slow
	clusterSeeds = 20
)
