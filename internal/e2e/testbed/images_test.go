package testbed

import (
	"bytes"
	"testing"
)

func TestCheckTags(t *testing.T) {
	if err := checkTags([]string{"v1", "otherarch"}); err != nil {
		t.Error(err)
	}
	if err := checkTags(nil); err != nil {
		t.Error(err)
	}
	if err := checkTags([]string{"v1", "v9"}); err == nil {
		t.Error("an unknown tag is let through")
	}
}

// Digests are written into want files and configurations: the same program
// must give the same image, and each variant another one.
func TestImagesAreTheSameEachTimeAndDiffer(t *testing.T) {
	seen := map[string]string{}
	for _, v := range variants() {
		if v.index {
			continue // holds the same image as its neighbour
		}
		v.ballast = min(v.ballast, 1) // size is not the point
		if v.tag == "big100" {
			continue
		}
		var digests [2]string
		for i := range digests {
			image, err := v.build([]byte("program"))
			if err != nil {
				t.Fatal(err)
			}
			digest, err := image.Digest()
			if err != nil {
				t.Fatal(err)
			}
			digests[i] = digest.String()
		}
		if digests[0] != digests[1] {
			t.Errorf("%s: %s, then %s", v.tag, digests[0], digests[1])
		}
		if other, ok := seen[digests[0]]; ok {
			t.Errorf("%s is the same image as %s", v.tag, other)
		}
		seen[digests[0]] = v.tag
	}
}

func TestNoiseFillsItsLengthAndDoesNotRepeat(t *testing.T) {
	data := noise(1 << 12)
	if len(data) != 1<<12 || bytes.Equal(data[:64], data[64:128]) || bytes.Equal(data[len(data)-8:], make([]byte, 8)) {
		t.Errorf("%d bytes, begins with %x", len(data), data[:16])
	}
}
