package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUnpackRefuses(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk.tar.zst")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"arguments", []string{junk}, 2, "missing argument FOLDER"},
		{"archive missing", []string{"/nowhere", filepath.Join(dir, "a")}, 2, "/nowhere"},
		{"id map", []string{junk, filepath.Join(dir, "a"), "--idmap", "z"}, 2, "b:0:100000:65536"},
		{"folder not empty", []string{junk, dir}, 2, "is not empty"},
		{"no archive", []string{junk, filepath.Join(dir, "a")}, 3, "unpack "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, talk := call(t, append([]string{"unpack"}, tt.args...)...)
			if code != tt.code || out != "" || !strings.Contains(talk, tt.want) {
				t.Errorf("code %d (want %d), stdout %q, stderr %q; want %q", code, tt.code, out, talk, tt.want)
			}
			left, err := os.ReadDir(dir)
			if err != nil || len(left) != 1 {
				t.Errorf("left behind: %v %v", left, err)
			}
		})
	}
}
