package stat

import "testing"

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		of   []float64
		want float64
		ok   bool
	}{{nil, 0, false}, {[]float64{3}, 3, true}, {[]float64{9, 1, 2}, 2, true}, {[]float64{4, 1, 9, 2}, 3, true}} {
		given := append([]float64(nil), c.of...)
		got, ok := Median(c.of)
		if got != c.want || ok != c.ok {
			t.Errorf("of %v: %v, %v", c.of, got, ok)
		}
		for i := range given {
			if c.of[i] != given[i] {
				t.Errorf("changed %v to %v", given, c.of)
			}
		}
	}
}
