//go:build pprof

package profile

import (
	"log"
	"net/http"
	_ "net/http/pprof"
	"os"
)

// Serve serves net/http/pprof at $PPROF.
func Serve() {
	go func() { log.Println(http.ListenAndServe(os.Getenv("PPROF"), nil)) }()
}
