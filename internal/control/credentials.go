package control

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/operation"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/iotcast/iotcast/internal/registry"
)

// password is one to log in with. Only its hash is kept.
type password struct {
	ID        string    `json:"id"`
	CreatedAt time.Time `json:"created_at"`
	Hash      string    `json:"hash"`
}

// certificate is one to log in with.
type certificate struct {
	Fingerprint string    `json:"fingerprint"` // SHA-256, in hexadecimal
	CreatedAt   time.Time `json:"created_at"`
	Data        string    `json:"data,omitempty"` // PEM; not known of those in the config file
}

// credentials are what the directory goes by.
func (p private) credentials() (c registry.Credentials) {
	for _, one := range p.Passwords {
		c.PasswordHashes = append(c.PasswordHashes, one.Hash)
	}
	for _, one := range p.Certificates {
		c.Fingerprints = append(c.Fingerprints, one.Fingerprint)
	}
	return c
}

// fixedPrivate are the credentials in the config file.
func fixedPrivate(c registry.Credentials) (p private) {
	for i, hash := range c.PasswordHashes {
		p.Passwords = append(p.Passwords, password{ID: fmt.Sprintf("%s-%d", byConfigFile, i), Hash: hash})
	}
	for _, fingerprint := range c.Fingerprints {
		p.Certificates = append(p.Certificates, certificate{Fingerprint: plain(fingerprint)})
	}
	return p
}

// plain is a fingerprint as it is kept, from what tools print.
func plain(fingerprint string) string {
	return strings.ToLower(strings.ReplaceAll(fingerprint, ":", ""))
}

func newPassword(text string) (password, error) {
	if err := registry.CheckPassword(text); err != nil {
		return password{}, invalid(wrong("password", "is too weak: %v", err))
	}
	hash, err := registry.HashPassword(text)
	return password{ID: newID(), CreatedAt: now().AsTime(), Hash: hash}, err
}

func newID() string {
	id := uuid.New()
	return hex.EncodeToString(id[:10])
}

// newCertificate reads a certificate in PEM.
func newCertificate(field, text string) (certificate, error) {
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil:
		return certificate{}, invalid(wrong(field, "is no certificate: give one in PEM, which begins with -----BEGIN CERTIFICATE-----"))
	case block.Type != "CERTIFICATE":
		return certificate{}, invalid(wrong(field, "is no certificate, but a PEM block of the type %.64q", block.Type))
	case len(strings.TrimSpace(string(rest))) > 0:
		return certificate{}, invalid(wrong(field, "holds more than one certificate: give only that of the device itself"))
	}
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return certificate{}, invalid(wrong(field, "is no X.509 certificate: %v", err))
	}
	if at := time.Now(); at.After(parsed.NotAfter) {
		return certificate{}, invalid(wrong(field, "expired at %s: nobody could log in with it", parsed.NotAfter.Format(time.RFC3339)))
	}
	return certificate{
		Fingerprint: registry.Fingerprint(parsed), CreatedAt: now().AsTime(), Data: string(pem.EncodeToMemory(block)),
	}, nil
}

// fingerprintOf is that of a certificate in PEM, which may have expired since it was added.
func fingerprintOf(text string) (string, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" {
		return "", errors.New("is no certificate in PEM")
	}
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("is no X.509 certificate: %w", err)
	}
	return registry.Fingerprint(parsed), nil
}

// newPrivate are the credentials that a resource is created with.
func newPrivate(passwordText string, certificates []string) (p private, err error) {
	if passwordText != "" {
		one, err := newPassword(passwordText)
		if err != nil {
			return p, err
		}
		p.Passwords = append(p.Passwords, one)
	}
	for i, text := range certificates {
		one, err := newCertificate(fmt.Sprintf("certificates[%d].certificate_data", i), text)
		if err != nil {
			return p, err
		}
		p.Certificates = append(p.Certificates, one)
	}
	return p, nil
}

// addPassword gives a resource another password, beside those that it has.
func (k *kind[T]) addPassword(ctx context.Context, id, text string, show func(password) proto.Message) (*operation.Operation, error) {
	one, err := newPassword(text)
	if err != nil {
		return nil, err
	}
	callOf(ctx).ids["password_id"] = one.ID
	return k.update(ctx, id, func(e *entry[T]) (proto.Message, error) {
		e.private.Passwords = append(e.private.Passwords, one)
		return show(one), nil
	})
}

func (k *kind[T]) deletePassword(ctx context.Context, id, passwordID string) (*operation.Operation, error) {
	return k.update(ctx, id, func(e *entry[T]) (proto.Message, error) {
		before := len(e.private.Passwords)
		e.private.Passwords = slices.DeleteFunc(e.private.Passwords, func(p password) bool { return p.ID == passwordID })
		if len(e.private.Passwords) == before {
			return nil, status.Errorf(codes.NotFound, "%s %q has no password %.64q", k.noun, id, passwordID)
		}
		return nil, nil
	})
}

func (k *kind[T]) addCertificate(ctx context.Context, id, text string, show func(certificate) proto.Message) (*operation.Operation, error) {
	one, err := newCertificate("certificate_data", text)
	if err != nil {
		return nil, err
	}
	callOf(ctx).ids["fingerprint"] = one.Fingerprint
	return k.update(ctx, id, func(e *entry[T]) (proto.Message, error) {
		if slices.ContainsFunc(e.private.Certificates, func(c certificate) bool { return c.Fingerprint == one.Fingerprint }) {
			return nil, status.Errorf(codes.AlreadyExists, "%s %q has this certificate (%s)", k.noun, id, one.Fingerprint)
		}
		e.private.Certificates = append(e.private.Certificates, one)
		return show(one), nil
	})
}

func (k *kind[T]) deleteCertificate(ctx context.Context, id, fingerprint string) (*operation.Operation, error) {
	return k.update(ctx, id, func(e *entry[T]) (proto.Message, error) {
		before := len(e.private.Certificates)
		e.private.Certificates = slices.DeleteFunc(e.private.Certificates, func(c certificate) bool {
			return c.Fingerprint == plain(fingerprint)
		})
		if len(e.private.Certificates) == before {
			return nil, status.Errorf(codes.NotFound, "%s %q has no certificate with the fingerprint %.100q", k.noun, id, fingerprint)
		}
		return nil, nil
	})
}

// since is a time of creation, nil for that of what stands in the config file, which is not known.
func since(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
