// Package typo finds the name that was most likely meant: call [Closest] with
// the valid names. It makes no message.
package typo

import (
	"slices"
	"strings"
)

// Distance counts the insertions, deletions, replacements and swaps of
// neighbouring bytes that turn a into b.
func Distance(a, b string) int {
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}

// Closest returns the known name that word most likely stands for, or "" if
// none is near. Near means at most one edit in three letters, and two in a
// short word. Letter case does not count; of equally near names the first in
// the alphabet wins.
func Closest(word string, known []string) string {
	word = strings.ToLower(word)
	best, nearest := "", max(2, len(word)/3)+1
	for _, name := range slices.Sorted(slices.Values(known)) {
		// With as many edits as letters it is another word, however short.
		if d := Distance(word, strings.ToLower(name)); d < nearest && d < len(name) {
			best, nearest = name, d
		}
	}
	return best
}
