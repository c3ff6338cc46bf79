package seal

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/golden/internal/rules"
)

// sealPasswords locks what has a password or an empty one in shadow(5) and
// gshadow(5), and moves passwords in passwd(5), which everyone can read, out
// of use. Fields it does not know stay as they are.
func sealPasswords(w *work) error {
	epochDays := 0
	if !w.opts.Epoch.IsZero() {
		epochDays = int(w.opts.Epoch.Unix() / int64(24*time.Hour/time.Second))
	}
	for _, file := range accountFiles(epochDays) {
		if err := w.editLines(file.name, file.edit); err != nil {
			return err
		}
	}
	return nil
}

// accountFile is a file with a line for each account or group, and what is done to the fields of a line.
type accountFile struct {
	name string
	edit func(fields []string)
}

func accountFiles(epochDays int) []accountFile {
	return []accountFile{
		{"etc/shadow", func(f []string) {
			lock(f, "*")
			if days, err := strconv.Atoi(field(f, 2)); err == nil && epochDays > 0 && days > epochDays {
				f[2] = strconv.Itoa(epochDays) // the build's day is not the image's
			}
		}},
		{"etc/gshadow", func(f []string) {
			// An empty field is how Debian writes "no group password": newgrp
			// then asks for membership only. A hash is a way in.
			if field(f, 1) != "" {
				lock(f, "!")
			}
		}},
		{"etc/passwd", func(f []string) {
			if len(f) > 1 {
				f[1] = "x"
			}
		}},
	}
}

// lock replaces a password, or an empty one, by a value that no password has.
func lock(f []string, value string) {
	if len(f) > 1 && !rules.IsLocked(f[1]) {
		f[1] = value
	}
}

func field(f []string, i int) string {
	if i < len(f) {
		return f[i]
	}
	return ""
}

func (w *work) editLines(name string, edit func([]string)) error {
	st, err := w.lstat(name)
	if err != nil || st == nil || !st.Mode().IsRegular() {
		return err
	}
	old, err := w.root.ReadFile(name)
	if err != nil {
		return err
	}
	if text := editedLines(string(old), edit); text != string(old) {
		return w.rewrite(name, []byte(text), st)
	}
	return nil
}

// editedLines calls edit with the fields of each line that is not empty.
func editedLines(text string, edit func([]string)) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if line == "" {
			continue
		}
		fields := strings.Split(line, ":")
		edit(fields)
		lines[i] = strings.Join(fields, ":")
	}
	return strings.Join(lines, "\n")
}

func sealHostName(w *work) error {
	name := w.opts.Hostname
	if name == "" {
		name = DefaultHostname
	}
	if err := w.write("etc/hostname", []byte(name+"\n"), 0o644); err != nil {
		return err
	}
	if err := w.remove("etc/mailname"); err != nil {
		return err
	}
	st, err := w.lstat("etc/hosts")
	if err != nil || st == nil || !st.Mode().IsRegular() {
		return err
	}
	old, err := w.root.ReadFile("etc/hosts")
	if err != nil {
		return err
	}
	if text := neutralHosts(string(old)); text != string(old) {
		return w.rewrite("etc/hosts", []byte(text), st)
	}
	return nil
}

// neutralHosts keeps the lines of hosts(5) that every Debian machine has:
// loopback and multicast addresses with their own names. Everything else, and
// every comment, was put there by or for the machine that built the image.
func neutralHosts(text string) string {
	own := []string{"localhost", "ip6-localhost", "ip6-loopback", "localhost4", "localhost6", "ip6-localnet", "ip6-mcastprefix", "ip6-allnodes", "ip6-allrouters", "ip6-allhosts"}
	var b strings.Builder
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(f[0])
		if err != nil || !addr.IsLoopback() && !addr.IsMulticast() && f[0] != "fe00::0" {
			continue
		}
		kept := slices.DeleteFunc(slices.Clone(f[1:]), func(n string) bool { return !slices.Contains(own, n) })
		switch {
		case len(kept) == 0:
		case len(kept) == len(f)-1:
			b.WriteString(strings.TrimRight(line, "\n") + "\n")
		default:
			b.WriteString(f[0] + "\t" + strings.Join(kept, " ") + "\n")
		}
	}
	return b.String()
}
