//go:build !pprof

// Package profile lets a server of the bench be profiled, in a build of its own: the runtime samples
// allocations, and keeps tables of them, in every program that imports net/http/pprof.
package profile

// Serve does nothing in the build that is measured.
func Serve() {}
