package debroot

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/fault"
)

// The members of a package file, deb(5), as the store has them: neither is compressed.
const (
	arMagic     = "!<arch>\n"
	arHeader    = 60 // bytes of a member's header
	versionName = "debian-binary"
	controlName = "control.tar"
	dataName    = "data.tar"
	sealName    = "_felhom-sum" // dpkg reads no member after the data
)

// maxControl is the longest control file that is read. The longest of Debian has some ten thousand bytes.
const maxControl = 1 << 20

// expand writes the package file at from to f without its compression. dpkg takes the result like the original: the two have the same
// control files and the same content.
func expand(ctx context.Context, from string, f *os.File, env []string) error {
	if _, err := f.WriteString(arMagic); err != nil {
		return err
	}
	version := []byte("2.0\n")
	if _, err := f.WriteString(memberHeader(versionName, int64(len(version)))); err != nil {
		return err
	}
	if _, err := f.Write(version); err != nil {
		return err
	}
	for _, m := range []struct{ name, flag string }{{controlName, "--ctrl-tarfile"}, {dataName, "--fsys-tarfile"}} {
		if err := expandMember(ctx, from, f, m.name, m.flag, env); err != nil {
			return err
		}
	}
	return nil
}

// expandMember lets dpkg-deb write one member to f. The header in front of it comes last, when the size is known.
func expandMember(ctx context.Context, from string, f *os.File, name, flag string, env []string) error {
	at, err := f.Seek(arHeader, io.SeekCurrent)
	if err != nil {
		return err
	}
	if _, err := run.Run(ctx, run.Cmd{Path: "dpkg-deb", Args: []string{flag, from}, Env: env, Stdout: f}); err != nil {
		return err
	}
	end, err := f.Seek(0, io.SeekCurrent) // dpkg-deb has written by the same descriptor
	if err != nil {
		return err
	}
	if _, err := f.WriteAt([]byte(memberHeader(name, end-at)), at-arHeader); err != nil {
		return err
	}
	if (end-at)%2 == 1 { // members begin at even places
		_, err = f.WriteString("\n")
	}
	return err
}

// sealMember is the last member of a package file of the store: the digest that the signed index has of the package, and that
// of all bytes before this member.
func sealMember(sum, digest string) string {
	text := sum + " " + digest + "\n"
	return memberHeader(sealName, int64(len(text))) + text // of even length: both digests are
}

// seal ends a package file of the store, whose descriptor is at its end.
func seal(f *os.File, sum string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	digest, err := digestOf(f, info.Size())
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(sealMember(sum, digest)), info.Size())
	return err
}

// sealed reports whether each byte of a package file of the store is as it was when the package with this digest was taken in.
func sealed(f *os.File, sum string) (bool, error) {
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	last := make([]byte, len(sealMember(sum, strings.Repeat("0", sha256.Size*2))))
	size := info.Size() - int64(len(last))
	if size < 0 {
		return false, nil
	}
	digest, err := digestOf(f, size)
	if err != nil {
		return false, err
	}
	if _, err := f.ReadAt(last, size); err != nil {
		return false, err
	}
	return string(last) == sealMember(sum, digest), nil
}

// digestOf returns the digest of the first size bytes of f.
func digestOf(f *os.File, size int64) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, size)); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func memberHeader(name string, size int64) string {
	return fmt.Sprintf("%-16s%-12d%-6d%-6d%-8s%-10d`\n", name, 0, 0, 0, "100644", size)
}

// member returns the content of the member name of a package file of the store.
func member(f *os.File, name string) (*io.SectionReader, error) {
	head := make([]byte, arHeader)
	if _, err := f.ReadAt(head[:len(arMagic)], 0); err != nil || string(head[:len(arMagic)]) != arMagic {
		return nil, fault.Errorf(fault.Invalid, "%s: not a package file", f.Name())
	}
	for at := int64(len(arMagic)); ; {
		if _, err := f.ReadAt(head, at); err != nil {
			return nil, fault.Errorf(fault.Invalid, "%s: no member %s", f.Name(), name)
		}
		size, err := strconv.ParseInt(strings.TrimSpace(string(head[48:58])), 10, 64)
		if err != nil || size < 0 || string(head[58:]) != "`\n" {
			return nil, fault.Errorf(fault.Invalid, "%s: a damaged member at %d", f.Name(), at)
		}
		at += arHeader
		if strings.TrimRight(string(head[:16]), " /") == name {
			return io.NewSectionReader(f, at, size), nil
		}
		at += size + size%2
	}
}

// control returns the control file of a package file of the store.
func control(file string) (text string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	m, err := member(f, controlName)
	if err != nil {
		return "", err
	}
	for r := tar.NewReader(m); ; {
		h, err := r.Next()
		if err != nil {
			return "", fmt.Errorf("%s: find its control file: %w", file, err)
		}
		if path.Clean(h.Name) != "control" {
			continue
		}
		if h.Size > maxControl {
			return "", fault.Errorf(fault.Invalid, "%s: its control file has %d bytes, which exceeds the limit of %d", file, h.Size, maxControl)
		}
		var b bytes.Buffer
		if _, err := io.Copy(&b, r); err != nil {
			return "", fmt.Errorf("%s: read its control file: %w", file, err)
		}
		return b.String(), nil
	}
}
