package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"aead.dev/minisign"
)

// sign signs text as minisign does, so that "minisign -V" and other programs of that format verify it.
func sign(text []byte, o options) ([]byte, error) {
	if info, err := os.Stat(o.key); err == nil && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("its mode is %04o, so that others can read it\nrelease: hint: chmod 600 %s", info.Mode().Perm(), o.key)
	}
	password := ""
	if o.password != "" {
		data, err := os.ReadFile(o.password)
		if err != nil {
			return nil, err
		}
		password = strings.TrimRight(string(data), "\r\n")
	}
	key, err := readKey(password, o.key)
	if err != nil {
		return nil, err
	}
	// The time is the release's: a signature of the same key over the same files is the same.
	comment := fmt.Sprintf("timestamp:%d\tfile:%s\tversion:%s", o.time.Unix(), sums, o.version.text)
	hashed := minisign.NewReader(bytes.NewReader(text)) // the form that minisign itself writes by default
	if _, err := io.Copy(io.Discard, hashed); err != nil {
		return nil, err
	}
	return hashed.SignWithComments(key, comment, "signature of felhom "+o.version.text), nil
}

// readKey reads a key with or without a password.
func readKey(password, name string) (minisign.PrivateKey, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return minisign.PrivateKey{}, err
	}
	if minisign.IsEncrypted(data) {
		if password == "" {
			return minisign.PrivateKey{}, errors.New("the key has a password\nrelease: hint: make release KEY=FILE PASSWORD_FILE=FILE")
		}
		return minisign.DecryptKey(password, data)
	}
	var key minisign.PrivateKey
	return key, key.UnmarshalText(data)
}
