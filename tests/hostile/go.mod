module github.com/parleychat/chat/tests/hostile

go 1.26.0

require (
	github.com/gobwas/ws v1.5.0
	github.com/google/pprof v0.0.0-20260906184651-6331bc6350fe
	github.com/parleychat/chat v0.0.0
)

require (
	github.com/gobwas/httphead v0.1.0 // indirect
	go.uber.org/goleak v1.3.0
)

replace github.com/parleychat/chat => ../..

replace github.com/google/pprof => github.com/google/pprof v0.0.0-20260906184651-6331bc6350fe
