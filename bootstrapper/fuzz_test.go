package main

import "testing"

func FuzzParseStart(f *testing.F) {
	for _, s := range []string{
		"4711 (dockerd) S 1 4711 4711 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 12 0 93012 1 2", "1 (a) b) c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 9223372036854775807 1", ") S", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, stat string) {
		if at, ok := parseStart(stat); ok && at < 0 {
			t.Errorf("%q began at %v", stat, at)
		}
	})
}
