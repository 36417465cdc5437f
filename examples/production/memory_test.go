package main

import (
	"context"
	"runtime"
	"testing"
	"time"
)

// What a peak has left is the system's again.
func TestGiveBack(t *testing.T) {
	const peak = 64 << 20
	room := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapSys - m.HeapReleased
	}
	b := make([]byte, peak)
	for i := range b {
		b[i] = 1
	}
	high := room()
	runtime.KeepAlive(b)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		giveBack(ctx, 10*time.Millisecond)
	}()
	for end := time.Now().Add(30 * time.Second); room() > high-peak/2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("%d MB in use, %d at the peak", room()>>20, high>>20)
			break
		}
	}
	cancel()
	<-done
}
