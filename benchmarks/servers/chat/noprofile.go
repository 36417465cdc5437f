//go:build !pprof

package main

func serveProfiles() {}
