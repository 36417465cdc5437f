package main

import (
	"embed"
	"io/fs"
	"net/http"
	"strings"
)

// built matches web/dist where it has been built, and web/index.html in any case: a pattern that matches nothing would not compile.
//
//go:embed web/[di]*
var built embed.FS

const notBuilt = `The chat server runs, but its page was not built when it was compiled. Build both, from the top of the repository:

    npm --prefix examples/production/web ci
    npm --prefix examples/production/web run build
    cd examples/production && go build
`

// page serves what Vite has built. Its assets are named by their content, so they are kept for good; index.html names them, so it is asked for each time.
func page() http.Handler {
	dist, err := fs.Sub(built, "web/dist")
	if err == nil {
		_, err = fs.Stat(dist, "index.html")
	}
	if err != nil {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, notBuilt, http.StatusServiceUnavailable) })
	}
	files := http.FileServerFS(dist)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		if strings.HasPrefix(r.URL.Path, "/assets/") {
			h.Set("Cache-Control", "public, max-age=31536000, immutable")
		}
		files.ServeHTTP(w, r)
	})
}
