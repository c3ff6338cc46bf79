package dockertest

import "testing"

func TestFakeConforms(t *testing.T) {
	e := Start(t)
	e.Username, e.Password = "user", "secret-password"
	e.Push("registry.example/a:v1", "registry.example/a:exits")
	Conform(t, Bed{
		Host: e.Host, Username: e.Username, Password: e.Password, Healthy: "registry.example/a:v1", Exits: "registry.example/a:exits",
		Missing: "registry.example/a:missing", Address: "127.0.0.1", Port: "18080", Name: "x-", Label: "org.felhom.test=1",
	})
}
