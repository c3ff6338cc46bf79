package commandtest

import (
	"slices"
	"testing"
)

func TestQuoted(t *testing.T) {
	const page = "# T\n\n### 1. One\n\nText.\n\n```text\na …: b\nhint: c\n```\n\n```text\nd\n```\n\n### 2. Two\n\n### 3. Three\n\n```text\ne\n```\n"
	for heading, want := range map[string][]string{"### 1. One": {"a …: b", "hint: c"}, "### 2. Two": nil, "### 3. Three": {"e"}, "### 4. Four": nil} {
		if got := quoted(page, heading); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", heading, got, want)
		}
	}
	for want, text := range map[string]string{"a …: b": "x\nprogram: a 8200: b\ny\n", "a.b": "a.b"} {
		if !hasLine(text, want) {
			t.Errorf("%q is not in %q", want, text)
		}
	}
	for want, text := range map[string]string{"a …: b": "a : b", "a": "a, and more", "a.b": "aXb", "b": "ab"} {
		if hasLine(text, want) {
			t.Errorf("%q is taken for a line of %q", want, text)
		}
	}
}
