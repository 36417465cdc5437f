//go:build pprof

package main

import (
	"log"
	"net/http"
	_ "net/http/pprof"
	"os"
)

// serveProfiles serves net/http/pprof at $PPROF. It is not in the build that is measured: the runtime
// samples allocations, and keeps tables of them, in every program that imports it.
func serveProfiles() {
	go func() { log.Println(http.ListenAndServe(os.Getenv("PPROF"), nil)) }()
}
