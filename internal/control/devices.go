package control

import (
	"context"
	"maps"
	"strings"

	devices "github.com/yandex-cloud/go-genproto/yandex/cloud/iot/devices/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/operation"
	"google.golang.org/protobuf/proto"

	"github.com/iotcast/iotcast/internal/devbroker"
	"github.com/iotcast/iotcast/internal/state"
)

// deviceService is yandex.cloud.iot.devices.v1.DeviceService.
type deviceService struct {
	devices.UnimplementedDeviceServiceServer
	k *keeper
}

// maxDevicePage is how many devices a page may have: their options allow more than those of other lists.
const maxDevicePage = 1000

func (s deviceService) Get(ctx context.Context, r *devices.GetDeviceRequest) (*devices.Device, error) {
	e, err := s.k.devices.get(r.DeviceId)
	if err != nil {
		return nil, err
	}
	tag(ctx, e.version)
	return s.view(e.resource, r.DeviceView), nil
}

func (s deviceService) GetByName(ctx context.Context, r *devices.GetByNameDeviceRequest) (*devices.Device, error) {
	e, err := s.k.devices.named(r.RegistryId, r.DeviceName)
	if err != nil {
		return nil, err
	}
	tag(ctx, e.version)
	return s.view(e.resource, r.DeviceView), nil
}

// view adds to a device what the MQTT broker has seen of it, if that is asked for.
func (s deviceService) view(d *devices.Device, view devices.DeviceView) *devices.Device {
	if view != devices.DeviceView_FULL || s.k.broker == nil {
		return d
	}
	a, ok := s.k.broker.Activity(d.Id)
	if !ok {
		return d
	}
	d = clone(d)
	d.MonitoringData = monitoring(a)
	return d
}

func monitoring(a devbroker.Activity) *devices.DeviceMonitoringData {
	return &devices.DeviceMonitoringData{
		LastAuthIp: a.LastAuthIP, LastAuthTime: since(a.LastAuthTime), LastPubActivityTime: since(a.LastPubActivityTime),
		LastSubActivityTime: since(a.LastSubActivityTime), LastOnlineTime: since(a.LastOnlineTime),
	}
}

func (s deviceService) List(_ context.Context, r *devices.ListDevicesRequest) (*devices.ListDevicesResponse, error) {
	prefix, of := "", "devices "+r.GetFolderId()
	folder := func(*state.Tx, *devices.Device) bool { return true }
	if id := r.GetRegistryId(); id != "" {
		if _, err := s.k.registries.get(id); err != nil {
			return nil, err
		}
		prefix, of = id+"/", "devices of "+id
	} else if id := r.GetFolderId(); id != "" {
		folder = func(tx *state.Tx, d *devices.Device) bool {
			e, err := s.k.registries.read(tx, d.RegistryId)
			return err == nil && e != nil && e.resource.FolderId == id
		}
	}
	p, err := pageOf(of, min(r.PageSize, maxDevicePage), r.PageToken)
	if err != nil {
		return nil, err
	}
	all, next, err := s.k.devices.list(prefix, p, folder)
	for i, d := range all {
		all[i] = s.view(d, r.DeviceView)
	}
	return &devices.ListDevicesResponse{Devices: all, NextPageToken: next}, err
}

func (s deviceService) Create(ctx context.Context, r *devices.CreateDeviceRequest) (*operation.Operation, error) {
	parent, err := s.k.registries.get(r.RegistryId)
	if err != nil {
		return nil, err
	}
	if parent.fixed {
		return nil, s.k.registries.isFixed(r.RegistryId)
	}
	var texts []string
	for _, one := range r.Certificates {
		texts = append(texts, one.CertificateData)
	}
	secrets, err := newPrivate(r.Password, texts)
	if err != nil {
		return nil, err
	}
	id, end := s.k.devices.choose(r.Name)
	defer end()
	return s.k.devices.create(ctx, &entry[*devices.Device]{private: secrets, resource: &devices.Device{
		Id: id, RegistryId: r.RegistryId, CreatedAt: now(), Name: r.Name, Description: r.Description, Labels: r.Labels,
		TopicAliases: withID(r.TopicAliases, id), Status: devices.Device_ACTIVE,
	}})
}

// withID puts the ID of a new device where its aliases have {id}.
func withID(aliases map[string]string, id string) map[string]string {
	aliases = maps.Clone(aliases)
	for alias, target := range aliases {
		aliases[alias] = strings.ReplaceAll(target, "{id}", id)
	}
	return aliases
}

func (s deviceService) Update(ctx context.Context, r *devices.UpdateDeviceRequest) (*operation.Operation, error) {
	return s.k.devices.update(ctx, r.DeviceId, func(e *entry[*devices.Device]) (proto.Message, error) {
		err := merge(r.UpdateMask, r, e.resource, "name", "description", "topic_aliases", "labels")
		e.resource.TopicAliases = withID(e.resource.TopicAliases, r.DeviceId)
		return e.resource, err
	})
}

func (s deviceService) Delete(ctx context.Context, r *devices.DeleteDeviceRequest) (*operation.Operation, error) {
	return s.k.devices.delete(ctx, r.DeviceId)
}

func (s deviceService) ListCertificates(
	_ context.Context, r *devices.ListDeviceCertificatesRequest,
) (*devices.ListDeviceCertificatesResponse, error) {
	e, err := s.k.devices.get(r.DeviceId)
	if err != nil {
		return nil, err
	}
	answer := new(devices.ListDeviceCertificatesResponse)
	for _, one := range e.private.Certificates {
		answer.Certificates = append(answer.Certificates, deviceCertificate(r.DeviceId, one))
	}
	return answer, nil
}

func deviceCertificate(id string, c certificate) *devices.DeviceCertificate {
	return &devices.DeviceCertificate{DeviceId: id, Fingerprint: c.Fingerprint, CertificateData: c.Data, CreatedAt: since(c.CreatedAt)}
}

func (s deviceService) AddCertificate(ctx context.Context, r *devices.AddDeviceCertificateRequest) (*operation.Operation, error) {
	return s.k.devices.addCertificate(ctx, r.DeviceId, r.CertificateData, func(c certificate) proto.Message {
		return deviceCertificate(r.DeviceId, c)
	})
}

func (s deviceService) DeleteCertificate(ctx context.Context, r *devices.DeleteDeviceCertificateRequest) (*operation.Operation, error) {
	return s.k.devices.deleteCertificate(ctx, r.DeviceId, r.Fingerprint)
}

func (s deviceService) ListPasswords(
	_ context.Context, r *devices.ListDevicePasswordsRequest,
) (*devices.ListDevicePasswordsResponse, error) {
	e, err := s.k.devices.get(r.DeviceId)
	if err != nil {
		return nil, err
	}
	answer := new(devices.ListDevicePasswordsResponse)
	for _, one := range e.private.Passwords {
		answer.Passwords = append(answer.Passwords, devicePassword(r.DeviceId, one))
	}
	return answer, nil
}

func devicePassword(id string, p password) *devices.DevicePassword {
	return &devices.DevicePassword{DeviceId: id, Id: p.ID, CreatedAt: since(p.CreatedAt)}
}

func (s deviceService) AddPassword(ctx context.Context, r *devices.AddDevicePasswordRequest) (*operation.Operation, error) {
	return s.k.devices.addPassword(ctx, r.DeviceId, r.Password, func(p password) proto.Message { return devicePassword(r.DeviceId, p) })
}

func (s deviceService) DeletePassword(ctx context.Context, r *devices.DeleteDevicePasswordRequest) (*operation.Operation, error) {
	return s.k.devices.deletePassword(ctx, r.DeviceId, r.PasswordId)
}

func (s deviceService) ListOperations(
	ctx context.Context, r *devices.ListDeviceOperationsRequest,
) (*devices.ListDeviceOperationsResponse, error) {
	all, next, err := operationsOf(ctx, s.k.devices, r.DeviceId, r.PageSize, r.PageToken, r.Filter)
	return &devices.ListDeviceOperationsResponse{Operations: all, NextPageToken: next}, err
}
