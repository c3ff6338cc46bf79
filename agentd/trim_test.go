package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Only what the kernel can read again from the file is unmapped.
func TestCleanPages(t *testing.T) {
	mapping := func(span, mode, file, anonymous string) string {
		return fmt.Sprintf("%s %s 00000000 fe:00 4711                       %s\nSize:  8 kB\nRss:  8 kB\nPrivate_Dirty:  0 kB\nAnonymous:  %s kB\nVmFlags: rd ex mr mw me\n", span, mode, file, anonymous)
	}
	const file = "/usr/local/bin/felhom-agentd"
	for name, c := range map[string]struct {
		smaps string
		want  []span
	}{
		"code and constants":   {mapping("00400000-00402000", "r-xp", file, "0") + mapping("00402000-00405000", "r--p", file, "0"), []span{{0x400000, 0x2000}, {0x402000, 0x3000}}},
		"variables":            {mapping("00400000-00402000", "rw-p", file, "0"), nil},
		"filled in":            {mapping("00400000-00402000", "r--p", file, "4"), nil},
		"not on a swap device": {mapping("00400000-00402000", "r--p", file, "0") + "Swap:  0 kB\nSwapPss:  0 kB\n", []span{{0x400000, 0x2000}}},
		"on a swap device":     {mapping("00400000-00402000", "r--p", file, "0") + "Swap:  4 kB\n" + mapping("00402000-00404000", "r-xp", file, "0"), []span{{0x402000, 0x2000}}},
		"another file":         {mapping("00400000-00402000", "r-xp", "/usr/lib/libc.so.6", "0"), nil},
		"a longer name":        {mapping("00400000-00402000", "r-xp", "/mnt"+file, "0"), nil},
		"no file":              {mapping("00400000-00402000", "r--p", "", "0"), nil},
		"code, then no file":   {mapping("00400000-00402000", "r-xp", file, "8") + mapping("00402000-00404000", "r--p", "", "0"), nil},
		"replaced":             {mapping("00400000-00402000", "r-xp", file+" (deleted)", "0"), nil}, // the link says it too
		"nothing":              {"", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := cleanPages(strings.NewReader(c.smaps), file)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%v, %v, want %v", got, err, c.want)
			}
		})
	}
}

// mappedKiB returns how much memory of files is mapped.
func mappedKiB(t *testing.T) (kib int) {
	t.Helper()
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "\nRssFile:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib
}

// The program continues with less of its file mapped.
func TestTrim(t *testing.T) {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	smaps, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := cleanPages(smaps, program)
	if err := errors.Join(err, smaps.Close()); err != nil || len(pages) == 0 {
		t.Fatalf("%d mappings, %v", len(pages), err)
	}
	for _, p := range pages {
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, p.first, p.size, unix.MADV_POPULATE_READ); errno != 0 {
			t.Fatal(errno)
		}
	}
	before := mappedKiB(t)
	if err := trim(); err != nil {
		t.Fatal(err)
	}
	if after := mappedKiB(t); after > before*3/4 {
		t.Errorf("%d KiB of files are mapped, %d KiB before", after, before)
	}
}
