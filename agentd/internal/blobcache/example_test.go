package blobcache_test

import (
	"fmt"
	"os"

	"github.com/felhom/felhom-golden/agentd/internal/blobcache"
	"github.com/felhom/felhom-golden/internal/contract"
)

func Example() {
	dir, err := os.MkdirTemp("", "blobs")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	cache, err := blobcache.Open(dir, 1<<30, func(err error) { fmt.Println(err) })
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = cache.Close() }()
	digest, err := contract.ParseDigest("sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824")
	if err != nil {
		fmt.Println(err)
		return
	}
	w := cache.Create("registry.example/team/app", digest, 5)
	_, _ = w.Write([]byte("hello")) // a fault of the cache is not a fault of the pull
	w.Commit()
	w.Close()
	file := cache.Open("registry.example/team/app", digest, 5)
	fmt.Println(file != nil)
	_ = file.Close()
	// Output: true
}
