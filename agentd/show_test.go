package main

import (
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/overview"
)

func TestShowNamesARevocation(t *testing.T) {
	text := shown{Row: overview.Row{Guest: 8200, Revoked: true}}.text(time.Now())
	if !strings.Contains(text, "revoked") || strings.Contains(text, "not used yet") {
		t.Errorf("%s", text)
	}
}
