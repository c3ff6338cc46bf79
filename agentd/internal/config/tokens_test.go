package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/config"
)

func TestTokens(t *testing.T) {
	const head = "controller_image: registry.example/a/b:v1\n"
	for text, want := range map[string]config.Tokens{
		"":                              {},
		"tokens: {rotate_every: 30d}\n": {RotateEvery: 30 * 24 * time.Hour},
		"tokens: {rotate_every: 12h, expire_after: 2d}\n": {RotateEvery: 12 * time.Hour, ExpireAfter: 48 * time.Hour},
	} {
		c, err := config.Parse("agentd.yaml", []byte(head+text))
		if err != nil || c.Tokens != want {
			t.Errorf("%q: %+v, %v, want %+v", text, c.Tokens, err, want)
		}
	}
	for text, want := range map[string]string{
		"tokens: {rotate_every: 30}\n":                     "want a duration like 30d",
		"tokens: {rotate_every: 59m}\n":                    "want a duration like 30d",
		"tokens: {rotate_every: 0d}\n":                     "want a duration like 30d",
		"tokens: {rotate_every: -3d}\n":                    "want a duration like 30d",
		"tokens: {rotate_every: 03d}\n":                    "want a duration like 30d",
		"tokens: {rotate_every: 1.5d}\n":                   "want a duration like 30d",
		"tokens: {rotate_every: 9999999999999999999d}\n":   "want a duration like 30d",
		"tokens: {rotate_every: 106752d}\n":                "want a duration like 30d",
		"tokens: {expire_after: 30d}\n":                    "needs rotate_every",
		"tokens: {rotate_every: 30d, expire_after: 30d}\n": "want more than rotate_every",
		"tokens: {rotate: 30d}\n":                          "rotate_every",
		"key_dir: tls\n":                                   "absolute",
	} {
		if _, err := config.Parse("agentd.yaml", []byte(head+text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
