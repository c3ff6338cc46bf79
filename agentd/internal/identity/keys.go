package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"

	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/regular"
)

// Switch makes the next key the current one and makes a new next key. Guests
// pin both keys, so each guest whose mount has the next key's pin accepts the
// host after it; see to that first. A Switch that is interrupted has either
// changed nothing that Load returns, or is finished by the next Load.
//
// The order of writes: first the new key is on disk, then the current key is
// replaced by the next, then the new key takes the next one's place. Two equal
// keys show that the last write is missing.
func (f Files) Switch() error {
	var made []string
	_, next, err := f.keys(&made)
	if err != nil {
		return err
	}
	if _, err := f.upcoming(next, &made); err != nil {
		return err
	}
	text, err := encodeKey(next)
	if err != nil {
		return fmt.Errorf("next key: %w", err)
	}
	if err := atomicfile.Write(f.Keys, currentSlot+keySuffix, text, atomicfile.Attr{Mode: 0o600}); err != nil {
		return fmt.Errorf("current key: %w", err)
	}
	_, _, err = f.keys(&made)
	return err
}

// keys returns both keys, and finishes an interrupted switch.
func (f Files) keys(made *[]string) (current, next *ecdsa.PrivateKey, err error) {
	if current, err = f.key(currentSlot, made); err != nil {
		return nil, nil, fmt.Errorf("current key: %w", err)
	}
	if next, err = f.key(nextSlot, made); err != nil {
		return nil, nil, fmt.Errorf("next key: %w", err)
	}
	if !current.Equal(next) {
		return current, next, nil
	}
	if next, err = f.upcoming(current, made); err != nil {
		return nil, nil, err
	}
	text, err := encodeKey(next)
	if err != nil {
		return nil, nil, fmt.Errorf("next key: %w", err)
	}
	// Written and then removed in place of a rename, which another node of a
	// cluster could repeat with a later key.
	if err := atomicfile.Write(f.Keys, nextSlot+keySuffix, text, atomicfile.Attr{Mode: 0o600}); err != nil {
		return nil, nil, fmt.Errorf("next key: %w", err)
	}
	*made = append(*made, nextSlot+keySuffix)
	return current, next, f.removeUpcoming()
}

// upcoming returns the key that follows the next one. One that equals used is
// what an interrupted switch did not remove.
func (f Files) upcoming(used *ecdsa.PrivateKey, made *[]string) (*ecdsa.PrivateKey, error) {
	key, err := f.key(upcomingSlot, made)
	if err == nil && key.Equal(used) {
		if err := f.removeUpcoming(); err != nil {
			return nil, err
		}
		key, err = f.key(upcomingSlot, made)
	}
	if err != nil {
		return nil, fmt.Errorf("upcoming key: %w", err)
	}
	return key, nil
}

func (f Files) removeUpcoming() error {
	if err := atomicfile.Remove(f.Keys, upcomingSlot+keySuffix); err != nil {
		return fmt.Errorf("upcoming key: %w", err)
	}
	return nil
}

// key returns the key of a slot, which it makes if there is none.
func (f Files) key(slot string, made *[]string) (*ecdsa.PrivateKey, error) {
	file := slot + keySuffix
	text, err := regular.ReadIn(f.Keys, file, maxFileBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return f.makeKey(file, made)
	}
	if err != nil {
		return nil, err
	}
	return parseKey(file, text)
}

func parseKey(file string, text []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != keyBlock {
		return nil, fmt.Errorf("%s holds no PEM block %q", file, keyBlock)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		// The cause is not wrapped: an ASN.1 error may quote bytes of the key.
		return nil, fmt.Errorf("%s is not a PKCS #8 private key", file)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%s holds another kind of key, want ECDSA P-256", file)
	}
	return key, nil
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), nil
}

// makeKey makes a key unless another node of the cluster did so meanwhile.
func (f Files) makeKey(file string, made *[]string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	text, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	err = atomicfile.Create(f.Keys, file, text, atomicfile.Attr{Mode: 0o600})
	if errors.Is(err, fs.ErrExist) {
		if text, err = regular.ReadIn(f.Keys, file, maxFileBytes); err != nil {
			return nil, err
		}
		return parseKey(file, text)
	}
	if err != nil {
		return nil, err
	}
	*made = append(*made, file)
	return key, nil
}
