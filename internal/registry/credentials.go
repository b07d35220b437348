package registry

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"
)

const (
	minPasswordChars = 14
	maxPasswordBytes = 72 // bcrypt takes no more
	maxCost          = 14 // about a second of CPU time
	maxCredentials   = 10 // of a kind, of one
)

// CheckPassword tells why a password is too weak for the service, or returns nil.
func CheckPassword(password string) error {
	if n := utf8.RuneCountInString(password); n < minPasswordChars {
		return fmt.Errorf("the password has %d characters: give at least %d", n, minPasswordChars)
	}
	if len(password) > maxPasswordBytes {
		return fmt.Errorf("the password is %d bytes long: bcrypt takes at most %d", len(password), maxPasswordBytes)
	}
	var lower, upper, digit, special int
	for _, r := range password {
		switch {
		case unicode.IsLower(r):
			lower = 1
		case unicode.IsUpper(r):
			upper = 1
		case unicode.IsDigit(r):
			digit = 1
		default:
			special = 1
		}
	}
	if lower+upper+digit+special < 3 {
		return errors.New("the password must hold characters of three of these groups: lower case, upper case, digits, others")
	}
	return nil
}

// HashPassword checks a password and returns its bcrypt hash, for Credentials.
func HashPassword(password string) (string, error) {
	if err := CheckPassword(password); err != nil {
		return "", err
	}
	slots <- struct{}{}
	defer func() { <-slots }()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	return string(hash), err
}

func checkHash(hash string) error {
	cost, err := bcrypt.Cost([]byte(hash))
	switch {
	case err != nil:
		return errors.New("is not a bcrypt hash: make one with `iotcast password`")
	case cost > maxCost:
		return fmt.Errorf("has a cost of %d: each login would take minutes, so make one of at most %d", cost, maxCost)
	}
	return nil
}

// fingerprint is the SHA-256 fingerprint of a certificate.
type fingerprint [sha256.Size]byte

func (f fingerprint) String() string { return hex.EncodeToString(f[:]) }

// Fingerprint is the SHA-256 fingerprint of a certificate, as Credentials have it.
func Fingerprint(cert *x509.Certificate) string { return fingerprint(sha256.Sum256(cert.Raw)).String() }

// parseFingerprint takes the forms in which tools print a fingerprint: with colons or without, in either case.
func parseFingerprint(text string) (f fingerprint, err error) {
	b, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
	if err != nil || len(b) != len(f) {
		return f, fmt.Errorf("is not a SHA-256 fingerprint: %q (see `openssl x509 -noout -fingerprint -sha256 -in certificate.pem`)", text)
	}
	return fingerprint(b), nil
}

// newProcessPassword makes 256 bits at random.
func newProcessPassword() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// password is one that is known by its hash.
type password struct {
	hash  string
	right atomic.Pointer[digest] // of what was right the last time
}

// digest is a keyed digest of a password.
type digest [sha256.Size]byte

// passwords compares passwords with hashes. That is slow by design, so only some are compared at a time, for the other work
// of the process, and the last right password of a hash is remembered, as a keyed digest: a fleet that connects again after
// a restart of its network would else keep a small machine busy for minutes.
type passwords struct {
	key  []byte
	none []byte // to compare with where there is no hash, so that the time does not tell who exists
}

// slots are for bcrypt, so that there is CPU time for the other work of the process. One is held for one hash: who has many
// does not keep the others waiting.
var slots = make(chan struct{}, max(1, runtime.NumCPU()/2))

func compare(hash, password []byte) bool {
	slots <- struct{}{}
	defer func() { <-slots }()
	return bcrypt.CompareHashAndPassword(hash, password) == nil
}

func newPasswords() passwords {
	p := passwords{
		key: make([]byte, sha256.Size),
		// Of a random password that nobody knows.
		none: []byte("$2a$10$kkT5gBvl7XJh/DPzpPrU3u2187QcitBfXFU97ZuUNuEuZ6iivP6hm"),
	}
	_, _ = rand.Read(p.key) // never fails
	return p
}

// match returns the one that a text is the password of, or nil.
func (p *passwords) match(known []*password, text []byte) *password {
	mac := hmac.New(sha256.New, p.key)
	mac.Write(text)
	var sum digest
	mac.Sum(sum[:0])
	for _, k := range known {
		if right := k.right.Load(); right != nil && hmac.Equal(right[:], sum[:]) {
			return k
		}
	}
	if len(known) == 0 {
		compare(p.none, text)
		return nil
	}
	for _, k := range known {
		if compare([]byte(k.hash), text) {
			k.right.Store(&sum)
			return k
		}
	}
	return nil
}
