package sshd_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"

	"github.com/felhom/felhom-golden/golden/internal/sshd"
)

// Sessions need root and a staged root directory. Serve ends when its context is done.
func ExampleServer_Serve() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	l, err := sshd.Listen(ctx, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	cancel()
	server := &sshd.Server{Root: "/var/tmp/root", Password: sha256.Sum256([]byte(rand.Text()))}
	fmt.Println(server.Serve(ctx, l))
	// Output: <nil>
}
