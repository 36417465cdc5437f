package socketio

import (
	"testing"
	"unsafe"
)

// An idle connection is to stay small; 160 bytes is a size class of the allocator.
func TestConnSize(t *testing.T) {
	if n := unsafe.Sizeof(conn{}); n > 160 {
		t.Errorf("a conn has %d bytes", n)
	}
}
