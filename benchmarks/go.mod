module github.com/parleychat/chat/benchmarks

go 1.26

replace github.com/parleychat/chat => ..
