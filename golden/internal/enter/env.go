package enter

import (
	"slices"
	"strings"
)

// BaseEnv is the environment of a program inside a root: nothing of this
// machine or of the user who builds.
func BaseEnv() []string {
	return []string{
		"DEBIAN_FRONTEND=noninteractive",
		"HOME=/root",
		"LANG=C.UTF-8",
		"LOGNAME=root",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"SHELL=/bin/sh",
		"USER=root",
	}
}

// MergeEnv lays variables ("NAME=value") over a base; the later of two equal
// names counts. The result is sorted.
func MergeEnv(base []string, over ...string) []string {
	values := map[string]string{}
	for _, kv := range slices.Concat(base, over) {
		name, value, _ := strings.Cut(kv, "=")
		values[name] = value
	}
	merged := make([]string, 0, len(values))
	for name, value := range values {
		merged = append(merged, name+"="+value)
	}
	slices.Sort(merged)
	return merged
}

// FromCaller is the part of an environment that a script may see: all of it but
// what says who and where the builder is. Image tools hand a script its
// variables through the environment of the program that runs it, so that the
// two cannot be told apart by origin, only by name.
func FromCaller(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return isCallers(name)
	})
}

func isCallers(name string) bool {
	switch name {
	case "", "_", "DISPLAY", "EDITOR", "HOME", "HOSTNAME", "LANG", "LANGUAGE", "LOGNAME", "LS_COLORS", "MAIL", "OLDPWD", "PAGER", "PATH",
		"PS1", "PWD", "SHELL", "SHLVL", "TEMP", "TMP", "TMPDIR", "TZ", "USER", "USERNAME", "VISUAL", "NOTIFY_SOCKET", "INVOCATION_ID",
		"JOURNAL_STREAM", "LISTEN_FDS", "LISTEN_PID", "BASH_ENV", "ENV", "FELHOM_GOLDEN_PASSWORD", "LD_PRELOAD", "LD_LIBRARY_PATH":
		return true
	}
	for _, prefix := range []string{"LC_", "SSH_", "SUDO_", "XDG_", "DBUS_", "GO", "GPG_", "PKR_VAR_", "BASH_FUNC_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
