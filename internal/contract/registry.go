package contract

// The files beside bootstrap.json in a guest's mount if registry_access is
// proxy. The guest's engine reads them at each pull.
const (
	// RegistryHostsFile leads an engine with containerd's image store to the host,
	// and holds the guest's token.
	RegistryHostsFile = "hosts.toml"
	// RegistryCertificateFile has the host's certificates, current and next. The
	// suffix is the one that engines look for.
	RegistryCertificateFile = "agent.crt"
)
