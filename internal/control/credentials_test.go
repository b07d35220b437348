package control

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	brokers "github.com/yandex-cloud/go-genproto/yandex/cloud/iot/broker/v1"
	devices "github.com/yandex-cloud/go-genproto/yandex/cloud/iot/devices/v1"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/iotcast/iotcast/internal/registry"
)

func selfSigned(t testing.TB, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// logsIn tells whether the directory lets somebody in.
func (d *desk) logsIn(user, password string) bool {
	_, _, err := d.cfg.Directory.Authenticate(registry.Login{User: user, Password: []byte(password)})
	return err == nil
}

// The same is offered for registries, devices and brokers.
func TestCredentials(t *testing.T) {
	d := newDesk(t)
	ctx := t.Context()
	d.registry("home")
	d.device("home", "boiler")
	if _, err := d.brokers.Create(ctx, &brokers.CreateBrokerRequest{Name: "factory"}); err != nil {
		t.Fatal(err)
	}
	const other = "Another-Horse-Battery-2"
	t.Run("registry", func(t *testing.T) {
		one := must(t, new(devices.RegistryPassword))(d.registries.AddPassword(ctx, &devices.AddRegistryPasswordRequest{RegistryId: "home", Password: goodPassword}))
		two := must(t, new(devices.RegistryPassword))(d.registries.AddPassword(ctx, &devices.AddRegistryPasswordRequest{RegistryId: "home", Password: other}))
		if one.Id == two.Id || one.RegistryId != "home" || !d.logsIn("home", goodPassword) || !d.logsIn("home", other) {
			t.Errorf("passwords %v %v", one, two)
		}
		must(t, new(emptypb.Empty))(d.registries.DeletePassword(ctx, &devices.DeleteRegistryPasswordRequest{RegistryId: "home", PasswordId: one.Id}))
		if d.logsIn("home", goodPassword) || !d.logsIn("home", other) {
			t.Error("the wrong password is gone")
		}
		must(t, new(devices.Registry))(d.registries.Disable(ctx, &devices.DisableRegistryRequest{RegistryId: "home"}))
		if d.logsIn("home", other) {
			t.Error("a disabled registry logs in")
		}
		d.restart()
		if d.logsIn("home", other) {
			t.Error("a disabled registry logs in after a restart")
		}
		must(t, new(devices.Registry))(d.registries.Enable(ctx, &devices.EnableRegistryRequest{RegistryId: "home"}))
		if !d.logsIn("home", other) {
			t.Error("an enabled registry does not log in")
		}
		c := must(t, new(devices.RegistryCertificate))(d.registries.AddCertificate(ctx, &devices.AddRegistryCertificateRequest{RegistryId: "home", CertificateData: selfSigned(t, "home")}))
		all, err := d.registries.ListCertificates(ctx, &devices.ListRegistryCertificatesRequest{RegistryId: "home"})
		if err != nil || len(all.Certificates) != 1 || all.Certificates[0].Fingerprint != c.Fingerprint ||
			all.Certificates[0].CertificateData == "" {
			t.Errorf("%v %v", all, err)
		}
		must(t, new(emptypb.Empty))(d.registries.DeleteCertificate(ctx, &devices.DeleteRegistryCertificateRequest{RegistryId: "home", Fingerprint: c.Fingerprint}))
	})
	t.Run("device", func(t *testing.T) {
		one := must(t, new(devices.DevicePassword))(d.devices.AddPassword(ctx, &devices.AddDevicePasswordRequest{DeviceId: "boiler", Password: goodPassword}))
		if one.DeviceId != "boiler" || !d.logsIn("boiler", goodPassword) {
			t.Errorf("password %v", one)
		}
		must(t, new(emptypb.Empty))(d.devices.DeletePassword(ctx, &devices.DeleteDevicePasswordRequest{DeviceId: "boiler", PasswordId: one.Id}))
		if d.logsIn("boiler", goodPassword) {
			t.Error("the password is not gone")
		}
		c := must(t, new(devices.DeviceCertificate))(d.devices.AddCertificate(ctx, &devices.AddDeviceCertificateRequest{DeviceId: "boiler", CertificateData: selfSigned(t, "boiler")}))
		must(t, new(emptypb.Empty))(d.devices.DeleteCertificate(ctx, &devices.DeleteDeviceCertificateRequest{DeviceId: "boiler", Fingerprint: c.Fingerprint}))
		if all, err := d.devices.ListCertificates(ctx, &devices.ListDeviceCertificatesRequest{DeviceId: "boiler"}); err != nil || len(all.Certificates) > 0 {
			t.Errorf("%v %v", all, err)
		}
	})
	t.Run("broker", func(t *testing.T) {
		one := must(t, new(brokers.BrokerPassword))(d.brokers.AddPassword(ctx, &brokers.AddBrokerPasswordRequest{BrokerId: "factory", Password: goodPassword}))
		if one.BrokerId != "factory" || !d.logsIn("factory", goodPassword) {
			t.Errorf("password %v", one)
		}
		must(t, new(emptypb.Empty))(d.brokers.DeletePassword(ctx, &brokers.DeleteBrokerPasswordRequest{BrokerId: "factory", PasswordId: one.Id}))
		c := must(t, new(brokers.BrokerCertificate))(d.brokers.AddCertificate(ctx, &brokers.AddBrokerCertificateRequest{BrokerId: "factory", CertificateData: selfSigned(t, "factory")}))
		must(t, new(emptypb.Empty))(d.brokers.DeleteCertificate(ctx, &brokers.DeleteBrokerCertificateRequest{BrokerId: "factory", Fingerprint: c.Fingerprint}))
		if d.logsIn("factory", goodPassword) {
			t.Error("the password is not gone")
		}
	})
}
