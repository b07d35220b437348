package registry

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Login is what a client shows to be recognised.
type Login struct {
	User        string
	Password    []byte            // nil: none was given
	Certificate *x509.Certificate // of which it has proven to have the key; nil: none
}

// Proof is what somebody was recognised by. It is for Recheck.
type Proof struct {
	hash        string
	certificate *fingerprint
	process     bool
}

// Authenticate says who logs in, and by what that is known. With a password and a certificate, the password decides. The
// error is for the log of the operator: a client is better not told.
func (d *Directory) Authenticate(l Login) (Principal, Proof, error) {
	switch {
	case l.Password != nil:
		return d.byPassword(l)
	case l.Certificate != nil:
		return d.byCertificate(l.Certificate, time.Now())
	case l.User != "":
		return Principal{}, Proof{}, fmt.Errorf("user %q gave no password", l.User)
	default:
		return Principal{}, Proof{}, errors.New("neither a user name and password nor a certificate was given")
	}
}

// ProcessPassword is one with which the process itself may log in as everyone who may: its streams need no other then. It is
// another at each start.
func (d *Directory) ProcessPassword() string { return d.process }

func (d *Directory) byPassword(l Login) (Principal, Proof, error) {
	m, off := d.member(l.User)
	var passwords []*password
	if m != nil {
		passwords = m.passwords
	}
	proof := Proof{process: subtle.ConstantTimeCompare([]byte(d.process), l.Password) == 1}
	if !proof.process {
		if right := d.passwords.match(passwords, l.Password); right != nil {
			proof.hash = right.hash
		}
	}
	switch {
	case m == nil:
		return Principal{}, Proof{}, fmt.Errorf("user %q is no device, registry or broker", l.User)
	case len(passwords) == 0 && !proof.process:
		return Principal{}, Proof{}, fmt.Errorf("%v has no password", m.Principal)
	case proof == (Proof{}):
		return Principal{}, Proof{}, fmt.Errorf("wrong password for %v", m.Principal)
	case off:
		return Principal{}, Proof{}, disabled(m.Principal)
	}
	return m.Principal, proof, nil
}

func (d *Directory) byCertificate(cert *x509.Certificate, now time.Time) (Principal, Proof, error) {
	f := fingerprint(sha256.Sum256(cert.Raw))
	d.mu.RLock()
	m := d.certificates[f]
	off := m != nil && m.off()
	d.mu.RUnlock()
	switch {
	case m == nil:
		return Principal{}, Proof{}, fmt.Errorf("nobody has the certificate %v", f)
	case now.After(cert.NotAfter):
		return Principal{}, Proof{}, fmt.Errorf("the certificate of %v expired at %s", m.Principal, cert.NotAfter.Format(time.RFC3339))
	case now.Before(cert.NotBefore):
		return Principal{}, Proof{}, fmt.Errorf("the certificate of %v is not valid before %s", m.Principal, cert.NotBefore.Format(time.RFC3339))
	case off:
		return Principal{}, Proof{}, disabled(m.Principal)
	}
	return m.Principal, Proof{certificate: &f}, nil
}

// member finds somebody, and tells whether it is disabled.
func (d *Directory) member(id string) (m *member, off bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	m = d.members[id]
	return m, m != nil && m.off()
}

// Recheck tells why somebody who has logged in could not do so now by the same password or certificate: it is ErrNotFound or
// ErrForbidden if not by another either.
func (d *Directory) Recheck(p Principal, by Proof) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if err := d.present(p); err != nil {
		return err
	}
	m := d.members[p.ID]
	switch {
	case by.process:
		return nil
	case by.certificate != nil:
		if slices.Contains(m.fingerprints, *by.certificate) {
			return nil
		}
		return fmt.Errorf("%v does not have the certificate %v any more", p, by.certificate)
	case slices.ContainsFunc(m.passwords, func(known *password) bool { return known.hash == by.hash }):
		return nil
	default:
		return fmt.Errorf("%v has another password now", p)
	}
}
