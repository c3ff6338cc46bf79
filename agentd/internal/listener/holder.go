package listener

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// holderOf returns the name of the process that listens on the address of a, or
// "" if none is found (another network namespace, another user's process).
func holderOf(a netip.AddrPort) string {
	inode := ""
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(table)
		if err != nil {
			continue // no IPv6 on this kernel
		}
		if found := listening(f, a); found != "" {
			inode = found
		}
		_ = f.Close() // only read
	}
	if inode == "" {
		return ""
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return ""
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err != nil || target != "socket:["+inode+"]" {
			continue
		}
		process := strings.Split(link, "/")[2]
		name, err := os.ReadFile(filepath.Join("/proc", process, "comm"))
		if err != nil {
			continue
		}
		return fmt.Sprintf("%s (pid %s)", strconv.Quote(strings.TrimSpace(string(name))), process)
	}
	return ""
}

// listening returns the inode of the listening socket in a table of the form of
// /proc/net/tcp that conflicts with a: same port, same or any address.
func listening(table io.Reader, a netip.AddrPort) string {
	const stateListen = "0A"
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || fields[3] != stateListen {
			continue
		}
		address, port, ok := strings.Cut(fields[1], ":")
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(port, 16, 16)
		if err != nil || uint16(n) != a.Port() {
			continue
		}
		if held, ok := parseKernelAddr(address); ok && (held.IsUnspecified() || held == a.Addr().Unmap()) {
			return fields[9]
		}
	}
	return ""
}

// parseKernelAddr reads the kernel's form: 32-bit words in host order (little
// endian on both architectures that we build for).
func parseKernelAddr(s string) (netip.Addr, bool) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b)%4 != 0 {
		return netip.Addr{}, false
	}
	for word := range slices.Chunk(b, 4) {
		slices.Reverse(word)
	}
	addr, ok := netip.AddrFromSlice(b)
	return addr.Unmap(), ok
}
