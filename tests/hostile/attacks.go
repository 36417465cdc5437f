package main

import "slices"

// attacks are all, in the order in which they are made.
var attacks = slices.Concat(slow, floods, doors)

// pairs are made two at a time, at the end.
var pairs = [][2]string{
	{"half-open upgrades", "flood: chat_message"},
	{"connect flood", "flood: history"},
	{"heads in drips", "too large"},
}
