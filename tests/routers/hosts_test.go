package routers

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/gin-contrib/gzip"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"
	"github.com/labstack/echo/v4"
	echomiddleware "github.com/labstack/echo/v4/middleware"
)

// A host mounts a Hub behind a logger, gzip and a recoverer, as applications do, and has a handler at /boom
// that panics.
type host struct {
	name  string
	at    string // where the Hub is
	mount func(hub http.Handler) http.Handler
}

var hosts = []host{
	{"net/http with StripPrefix", "/app/ws/", stdlib},
	{"chi", "/api/socket.io/", chiRouter},
	{"chi, a router within a router", "/v1/chat/", chiMounted},
	{"gin", "/socket.io/", ginRouter},
	{"echo", "/socket.io/", echoRouter},
}

func boom(http.ResponseWriter, *http.Request) { panic("boom") }

func stdlib(hub http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/app/ws/", http.StripPrefix("/app/ws", hub))
	mux.HandleFunc("/boom", boom)
	return logger(recoverer(mux))
}

// recorder is the response writer that loggers make: it remembers the status, and says by Unwrap what it wraps.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func logger(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w, status: http.StatusOK}
		began := time.Now()
		defer func() {
			slog.Debug("request", "path", r.URL.Path, "status", rec.status, "took", time.Since(began))
		}()
		next.ServeHTTP(rec, r)
	})
}

func recoverer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if recover() != nil {
				w.WriteHeader(http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

func chiRouter(hub http.Handler) http.Handler {
	r := chi.NewRouter()
	r.Use(chimiddleware.RequestID, chimiddleware.RequestLogger(quiet{}), chimiddleware.Recoverer, chimiddleware.Compress(5))
	r.Handle("/api/socket.io/*", hub)
	r.Get("/boom", boom)
	return r
}

func chiMounted(hub http.Handler) http.Handler {
	inner := chi.NewRouter()
	inner.Use(logger, chimiddleware.Compress(5))
	inner.Mount("/chat", hub)
	r := chi.NewRouter()
	r.Use(chimiddleware.RequestLogger(quiet{}), chimiddleware.Recoverer)
	r.Mount("/v1", inner)
	r.Get("/boom", boom)
	return r
}

// quiet logs nothing, with chi's wrapping of the response writer.
type quiet struct{}

func (quiet) NewLogEntry(*http.Request) chimiddleware.LogEntry { return quiet{} }

func (quiet) Write(int, int, http.Header, time.Duration, any) {}

func (quiet) Panic(any, []byte) {}

func ginRouter(hub http.Handler) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.Use(gin.LoggerWithWriter(discard{}), gin.RecoveryWithWriter(discard{}), gzip.Gzip(gzip.DefaultCompression))
	r.Any("/socket.io/*any", gin.WrapH(hub))
	r.GET("/boom", gin.WrapF(boom))
	return r
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func echoRouter(hub http.Handler) http.Handler {
	e := echo.New()
	e.Logger.SetOutput(discard{})
	e.Use(
		//lint:ignore SA1019 what existing applications have: it wraps the response writer
		echomiddleware.LoggerWithConfig(echomiddleware.LoggerConfig{Output: discard{}}),
		echomiddleware.RecoverWithConfig(echomiddleware.RecoverConfig{DisablePrintStack: true}),
		echomiddleware.Gzip(),
	)
	e.Any("/socket.io/*", echo.WrapHandler(hub))
	e.GET("/boom", echo.WrapHandler(http.HandlerFunc(boom)))
	return e
}
