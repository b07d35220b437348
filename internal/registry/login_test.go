package registry

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

func certificate(t *testing.T, from, until time.Duration) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(until)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func quickHash(t *testing.T, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

func TestAuthenticate(t *testing.T) {
	good, foreign := certificate(t, -time.Hour, time.Hour), certificate(t, -time.Hour, time.Hour)
	past, future := certificate(t, -2*time.Hour, -time.Hour), certificate(t, time.Hour, 2*time.Hour)
	d := directory(t, Config{Registries: []Registry{{
		ID:          "r",
		Credentials: Credentials{PasswordHashes: []string{quickHash(t, "old"), quickHash(t, "new")}},
		Devices: []Device{
			{ID: "d1", Credentials: Credentials{Fingerprints: []string{Fingerprint(good), Fingerprint(past), Fingerprint(future)}}},
			{ID: "d2", Credentials: Credentials{PasswordHashes: []string{quickHash(t, "secret")}}},
		},
	}}})
	for name, c := range map[string]struct {
		login   Login
		is, err string
	}{
		"password":                       {login: Login{User: "d2", Password: []byte("secret")}, is: "d2"},
		"password again":                 {login: Login{User: "d2", Password: []byte("secret")}, is: "d2"},
		"either password":                {login: Login{User: "r", Password: []byte("old")}, is: "r"},
		"or the other":                   {login: Login{User: "r", Password: []byte("new")}, is: "r"},
		"certificate":                    {login: Login{Certificate: good}, is: "d1"},
		"certificate and user":           {login: Login{User: "anything", Certificate: good}, is: "d1"},
		"right password, no one's":       {login: Login{User: "d2", Password: []byte("secret"), Certificate: foreign}, is: "d2"},
		"right password, another's":      {login: Login{User: "d2", Password: []byte("secret"), Certificate: good}, is: "d2"},
		"wrong password, own":            {login: Login{User: "d1", Password: []byte("wrong"), Certificate: good}, err: `device "d1" has no password`},
		"wrong password":                 {login: Login{User: "d2", Password: []byte("wrong")}, err: `wrong password for device "d2"`},
		"wrong password and certificate": {login: Login{User: "d2", Password: []byte("wrong"), Certificate: good}, err: "wrong password"},
		"empty password":                 {login: Login{User: "d2", Password: []byte{}}, err: "wrong password"},
		"another's password":             {login: Login{User: "r", Password: []byte("secret")}, err: "wrong password"},
		"unknown user":                   {login: Login{User: "d9", Password: []byte("secret")}, err: `user "d9" is no device`},
		"no password":                    {login: Login{User: "d2"}, err: "gave no password"},
		"nothing":                        {err: "neither"},
		"no one's":                       {login: Login{Certificate: foreign}, err: "nobody has the certificate " + Fingerprint(foreign)},
		"expired":                        {login: Login{Certificate: past}, err: "expired"},
		"not yet":                        {login: Login{Certificate: future}, err: "not valid before"},
	} {
		p, _, err := d.Authenticate(c.login)
		if p.ID != c.is || (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, %v", name, p, err)
		}
		if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), `"wrong"`)) {
			t.Errorf("%s: the error tells the password: %v", name, err)
		}
	}
}

func TestPasswordRule(t *testing.T) {
	for password, reason := range map[string]string{
		"Correct-Horse-1":                     "",
		"correct-horse-1":                     "",
		"CORRECThorse12":                      "",
		"Пароль-Подлинный":                    "",
		"Correct-Horse":                       "has 13 characters",
		"correcthorsebattery":                 "three of these groups",
		"correct-horse-battery":               "three of these groups",
		"Aa1" + strings.Repeat("x", 70):       "73 bytes long",
		"Aa1-" + strings.Repeat("ж", 35):      "74 bytes long",
		"              ":                      "three of these groups",
		"1234567890" + "1234" + "abcd" + "##": "",
	} {
		err := CheckPassword(password)
		if (err == nil) != (reason == "") || err != nil && !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: %v, want %q", password, err, reason)
		}
	}
}

// TestHashPassword takes few: bcrypt is slow by design, and slower with the race detector.
func TestHashPassword(t *testing.T) {
	const password = "Пароль-Подлинный"
	hash, err := HashPassword(password)
	if err != nil || bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) != nil || checkHash(hash) != nil {
		t.Errorf("%q, %v", hash, err)
	}
	if hash, err := HashPassword("Correct-Horse"); err == nil || hash != "" {
		t.Errorf("a weak one: %q, %v", hash, err)
	}
}

func TestFingerprintForms(t *testing.T) {
	plain := strings.Repeat("0a", 32)
	for _, form := range []string{plain, strings.ToUpper(plain), strings.TrimSuffix(strings.Repeat("0A:", 32), ":")} {
		if got, err := parseFingerprint(form); got.String() != plain || err != nil {
			t.Errorf("%s: %s, %v", form, got, err)
		}
	}
}
