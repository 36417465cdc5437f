package jwt_test

import (
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/parleychat/chat"
	"github.com/parleychat/chat/auth/jwt"
)

// A redirect goes nowhere that an address may not be.
func TestRedirectToPlainHTTP(t *testing.T) {
	t.Parallel()
	k := newEd()
	transport := roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.URL.Hostname() == "id.example.com" {
			return response(http.StatusOK, setOf(jwkOf("a", k.Public())), ""), nil
		}
		res := response(http.StatusFound, nil, "")
		res.Header.Set("Location", "http://id.example.com/keys")
		return res, nil
	})
	for _, base := range []string{"http://127.0.0.1/keys", "http://[::1]/keys"} {
		opts := []jwt.Option{
			jwt.WithJWKS(base, jwt.EdDSA), jwt.WithAudience("chat"), jwt.WithHTTPClient(&http.Client{Transport: transport}),
			jwt.WithLogger(slog.New(slog.DiscardHandler)),
		}
		wantCode(t, newVerifier(t, opts...), by(t, k, "a"), chat.Unavailable)
		wantCode(t, newVerifier(t, append(opts, jwt.WithPlainHTTP())...), by(t, k, "a"), "")
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Over a real connection: the client that WithJWKS has by itself, and redirects.
func TestJWKSOverHTTP(t *testing.T) {
	t.Parallel()
	k := newEd()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(setOf(jwkOf("a", k.Public()))) })
	mux.HandleFunc("GET /to", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Query().Get("u"), http.StatusFound)
	})
	mux.HandleFunc("GET /loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	plain := httptest.NewServer(mux)
	defer plain.Close()
	secure := httptest.NewUnstartedServer(mux)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // one client does not know the certificate
	secure.StartTLS()
	defer secure.Close()
	to := func(base, u string) string { return base + "/to?u=" + url.QueryEscape(u) }
	for name, c := range map[string]struct {
		address string
		client  *http.Client
		want    chat.Code
	}{
		"this machine":               {plain.URL + "/keys", nil, ""},
		"https":                      {secure.URL + "/keys", secure.Client(), ""},
		"certificate not known":      {secure.URL + "/keys", nil, chat.Unavailable},
		"redirect":                   {to(plain.URL, "/keys"), nil, ""},
		"redirect to https":          {to(plain.URL, secure.URL+"/keys"), secure.Client(), ""},
		"redirect from https":        {to(secure.URL, plain.URL+"/keys"), secure.Client(), chat.Unavailable},
		"redirect to plain http":     {to(plain.URL, "http://id.example.com/keys"), nil, chat.Unavailable},
		"redirect to a file":         {to(plain.URL, "file:///etc/keys"), nil, chat.Unavailable},
		"redirects without end":      {plain.URL + "/loop", nil, chat.Unavailable},
		"nothing there":              {plain.URL + "/x", nil, chat.Unavailable},
		"this machine, by its name":  {strings.Replace(plain.URL, "127.0.0.1", "localhost", 1) + "/keys", nil, ""},
		"this machine, another name": {strings.Replace(plain.URL, "127.0.0.1", "127.0.0.1.", 1) + "/keys", nil, "New"},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := jwt.New(jwt.WithJWKS(c.address, jwt.EdDSA), jwt.WithAudience("chat"), jwt.WithHTTPClient(c.client), jwt.WithLogger(slog.New(slog.DiscardHandler)))
			if c.want == "New" {
				if err == nil {
					v.Close()
					t.Fatal("taken")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			wantCode(t, v, by(t, k, "a"), c.want)
		})
	}
}
