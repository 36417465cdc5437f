//go:build race

package faults_test

// The race detector takes its time.
const (
	raced = true
	slow  = 5
)
