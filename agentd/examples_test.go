package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/agentd/internal/config"
)

// Each example's configuration and guests must be as provision accepts them,
// and name the image that its recipe brings along.
func TestExampleConfigurations(t *testing.T) {
	files, err := filepath.Glob("../examples/*/agentd.yaml")
	if err != nil || len(files) < 6 {
		t.Fatalf("want six examples or more, got %q %v", files, err)
	}
	index := readText(t, "../examples/README.md")
	var all []config.Guest
	for _, file := range files {
		dir := filepath.Dir(file)
		name := filepath.Base(dir)
		t.Run(name, func(t *testing.T) {
			text := readText(t, file)
			cfg, err := config.Parse("agentd.yaml", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			list, err := config.ParseGuests("guests.yaml", []byte(readText(t, filepath.Join(dir, "guests.yaml"))))
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range list {
				g = g.With(cfg.Provision.Guest)
				if err := g.Check(); err != nil {
					t.Error(err)
				}
				all = append(all, g)
			}
			if recipe := readText(t, filepath.Join(dir, "golden.yaml")); strings.Contains(recipe, "\ncontroller:") && !strings.Contains(recipe, "image: "+cfg.ControllerImage+"\n") {
				t.Errorf("the recipe brings along another image than %s", cfg.ControllerImage)
			}
			if !strings.Contains(index, "("+name+"/README.md)") {
				t.Error("is not in the table of examples/README.md")
			}
			if lines := strings.Count(text, "\n"); name == "plain-web" && lines > 6 {
				t.Errorf("agentd.yaml has %d lines, want six or fewer for the simplest case", lines)
			}
		})
	}
	if err := config.CheckTogether(all); err != nil {
		t.Error(err)
	}
}

func readText(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
