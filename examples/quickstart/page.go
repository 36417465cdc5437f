package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
)

// builtPage is where `npm run build` leaves the page: beside this file, from
// wherever the program is run. A binary that is moved to another machine
// wants -web.
func builtPage() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "web", "dist")
}

// page serves dir, and looks at each request whether it has been built.
func page(dir string) http.Handler {
	files := http.FileServer(http.Dir(dir))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := os.Stat(filepath.Join(dir, "index.html")); err != nil {
			notBuilt(w)
			return
		}
		files.ServeHTTP(w, r)
	})
}

func notBuilt(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusServiceUnavailable)
	fmt.Fprint(w, `The chat server runs, but its page has not been built yet.

Build it with Node and npm, from the top of the repository, and reload:

    npm --prefix examples/quickstart/web ci
    npm --prefix examples/quickstart/web run build

or run "make demo", which does all of it.
`)
}
