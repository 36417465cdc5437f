package chat

import "testing"

func TestShrunk(t *testing.T) {
	m, most := map[int]int{}, 0
	for i := range 5000 {
		m[i] = i
	}
	most = len(m)
	for i := range 3000 {
		delete(m, i)
	}
	shrunk(m, &most)[-1] = 1
	if len(m) != 2001 || most != 5000 {
		t.Fatal("a map that is half full was copied")
	}
	for i := range 4500 {
		delete(m, i)
	}
	small := shrunk(m, &most)
	if small[-1] = 2; m[-1] != 1 || most != len(m) || len(small) != len(m) || small[4999] != 4999 {
		t.Fatal(len(small), most)
	}
}
