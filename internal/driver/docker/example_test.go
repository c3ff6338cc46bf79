package docker_test

import (
	"context"
	"fmt"
	"time"

	"github.com/felhom/felhom-golden/internal/driver/docker"
)

// It needs an engine, and is compiled only.
func Example() {
	ctx := context.Background()
	engine, err := docker.New("unix:///run/docker.sock")
	if err != nil {
		panic(err)
	}
	defer func() { _ = engine.Close() }()
	if _, err := engine.Connect(ctx); err != nil {
		fmt.Println(docker.KindOf(err), err)
		return
	}
	const image = "registry.example/team/app:1.0"
	err = engine.Pull(ctx, image, docker.Credential{}, func(p docker.Progress) { fmt.Println(p.Done, "of", p.Total, "bytes") })
	if err != nil && docker.KindOf(err).Verdict() == docker.Retry {
		fmt.Println("a later try may succeed:", err)
	}
	id, err := engine.Create(ctx, docker.Spec{Name: "app", Image: image, Ports: []string{"8080:80"}})
	if err == nil {
		err = engine.Start(ctx, id)
	}
	fmt.Println(err, engine.Stop(ctx, id, 10*time.Second), engine.Remove(ctx, id))
}
