package registry

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// Login is what a client shows to be recognised.
type Login struct {
	User        string
	Password    []byte            // nil: none was given
	Certificate *x509.Certificate // of which it has proven to have the key; nil: none
}

// Authenticate says who logs in. With a password and a certificate, the password decides. The error is for the log of the
// operator: a client is better not told.
func (d *Directory) Authenticate(l Login) (Principal, error) {
	switch {
	case l.Password != nil:
		return d.byPassword(l)
	case l.Certificate != nil:
		return d.byCertificate(l.Certificate, time.Now())
	case l.User != "":
		return Principal{}, fmt.Errorf("user %q gave no password", l.User)
	default:
		return Principal{}, errors.New("neither a user name and password nor a certificate was given")
	}
}

func (d *Directory) byPassword(l Login) (Principal, error) {
	p, known := d.principals[l.User]
	right := d.passwords.match(d.hashes[l.User], l.Password)
	switch {
	case !known:
		return Principal{}, fmt.Errorf("user %q is no device, registry or broker", l.User)
	case len(d.hashes[l.User]) == 0:
		return Principal{}, fmt.Errorf("%v has no password", p)
	case !right:
		return Principal{}, fmt.Errorf("wrong password for %v", p)
	}
	return p, nil
}

func (d *Directory) byCertificate(cert *x509.Certificate, now time.Time) (Principal, error) {
	p, ok := d.certificates[Fingerprint(cert)]
	switch {
	case !ok:
		return Principal{}, fmt.Errorf("nobody has the certificate %s", Fingerprint(cert))
	case now.After(cert.NotAfter):
		return Principal{}, fmt.Errorf("the certificate of %v expired at %s", p, cert.NotAfter.Format(time.RFC3339))
	case now.Before(cert.NotBefore):
		return Principal{}, fmt.Errorf("the certificate of %v is not valid before %s", p, cert.NotBefore.Format(time.RFC3339))
	}
	return p, nil
}
