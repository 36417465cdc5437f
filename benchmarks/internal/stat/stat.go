// Package stat has what the reports of several programs work out alike.
package stat

import "slices"

// Median of an even number is halfway between the two in the middle. It is false for no values.
func Median(v []float64) (float64, bool) {
	if len(v) == 0 {
		return 0, false
	}
	s := slices.Sorted(slices.Values(v))
	m := len(s) / 2
	if len(s)%2 == 1 {
		return s[m], true
	}
	return (s[m-1] + s[m]) / 2, true
}
