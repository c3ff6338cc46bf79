package guests_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
)

func Example() {
	state, err := os.MkdirTemp("", "guests")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(state) }()
	store, err := guests.Open(filepath.Join(state, "guests"), state, time.Now)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = store.Close() }()

	ctx := context.Background()
	minted, err := store.Mint(ctx, 8200, 100000, time.Hour) // write it into the guest's mount, then
	err = errors.Join(err, store.Confirm(ctx, minted))
	match, authErr := store.Authenticate(minted.Token)
	fmt.Println(match.VMID, match.FirstUse, errors.Join(err, authErr))

	ended, err := store.Revoke(ctx, 8200)
	_, authErr = store.Authenticate(minted.Token)
	fmt.Println(ended, err, authErr)
	// Output:
	// 8200 true <nil>
	// 1 <nil> unknown token: this one of guest 8200 was revoked
}
