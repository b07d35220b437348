package control

import (
	"context"

	devices "github.com/yandex-cloud/go-genproto/yandex/cloud/iot/devices/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/operation"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/iotcast/iotcast/internal/state"
)

// registryService is yandex.cloud.iot.devices.v1.RegistryService.
type registryService struct {
	devices.UnimplementedRegistryServiceServer
	k *keeper
}

func (s registryService) Get(ctx context.Context, r *devices.GetRegistryRequest) (*devices.Registry, error) {
	return shown(ctx, s.k.registries, r.RegistryId)
}

func (s registryService) GetByName(ctx context.Context, r *devices.GetByNameRegistryRequest) (*devices.Registry, error) {
	e, err := s.k.registries.named("", r.RegistryName)
	if err != nil {
		return nil, err
	}
	tag(ctx, e.version)
	return e.resource, nil
}

func (s registryService) List(_ context.Context, r *devices.ListRegistriesRequest) (*devices.ListRegistriesResponse, error) {
	p, err := pageOf("registries", r.PageSize, r.PageToken)
	if err != nil {
		return nil, err
	}
	all, next, err := s.k.registries.list("", p, func(_ *state.Tx, one *devices.Registry) bool { return r.FolderId == "" || r.FolderId == one.FolderId })
	return &devices.ListRegistriesResponse{Registries: all, NextPageToken: next}, err
}

func (s registryService) Create(ctx context.Context, r *devices.CreateRegistryRequest) (*operation.Operation, error) {
	if r.LogOptions != nil {
		return nil, invalid(wrong("log_options", "are not offered: what the MQTT broker has to say is in the log of the process"))
	}
	var texts []string
	for _, one := range r.Certificates {
		texts = append(texts, one.CertificateData)
	}
	secrets, err := newPrivate(r.Password, texts)
	if err != nil {
		return nil, err
	}
	id, end := s.k.registries.choose(r.Name)
	defer end()
	return s.k.registries.create(ctx, &entry[*devices.Registry]{private: secrets, resource: &devices.Registry{
		Id: id, FolderId: r.FolderId, CreatedAt: now(), Name: r.Name, Description: r.Description, Labels: r.Labels,
		Status: devices.Registry_ACTIVE,
	}})
}

func (s registryService) Update(ctx context.Context, r *devices.UpdateRegistryRequest) (*operation.Operation, error) {
	return s.k.registries.update(ctx, r.RegistryId, func(e *entry[*devices.Registry]) (proto.Message, error) {
		return e.resource, merge(r.UpdateMask, r, e.resource, "name", "description", "labels")
	})
}

func (s registryService) Delete(ctx context.Context, r *devices.DeleteRegistryRequest) (*operation.Operation, error) {
	return s.k.registries.delete(ctx, r.RegistryId)
}

func (s registryService) Disable(ctx context.Context, r *devices.DisableRegistryRequest) (*operation.Operation, error) {
	return s.setStatus(ctx, r.RegistryId, devices.Registry_DISABLED)
}

func (s registryService) Enable(ctx context.Context, r *devices.EnableRegistryRequest) (*operation.Operation, error) {
	return s.setStatus(ctx, r.RegistryId, devices.Registry_ACTIVE)
}

func (s registryService) setStatus(ctx context.Context, id string, to devices.Registry_Status) (*operation.Operation, error) {
	return s.k.registries.update(ctx, id, func(e *entry[*devices.Registry]) (proto.Message, error) {
		e.resource.Status = to
		return e.resource, nil
	})
}

func (s registryService) ListCertificates(
	_ context.Context, r *devices.ListRegistryCertificatesRequest,
) (*devices.ListRegistryCertificatesResponse, error) {
	e, err := s.k.registries.get(r.RegistryId)
	if err != nil {
		return nil, err
	}
	answer := new(devices.ListRegistryCertificatesResponse)
	for _, one := range e.private.Certificates {
		answer.Certificates = append(answer.Certificates, registryCertificate(r.RegistryId, one))
	}
	return answer, nil
}

func registryCertificate(id string, c certificate) *devices.RegistryCertificate {
	return &devices.RegistryCertificate{RegistryId: id, Fingerprint: c.Fingerprint, CertificateData: c.Data, CreatedAt: since(c.CreatedAt)}
}

func (s registryService) AddCertificate(ctx context.Context, r *devices.AddRegistryCertificateRequest) (*operation.Operation, error) {
	return s.k.registries.addCertificate(ctx, r.RegistryId, r.CertificateData, func(c certificate) proto.Message {
		return registryCertificate(r.RegistryId, c)
	})
}

func (s registryService) DeleteCertificate(ctx context.Context, r *devices.DeleteRegistryCertificateRequest) (*operation.Operation, error) {
	return s.k.registries.deleteCertificate(ctx, r.RegistryId, r.Fingerprint)
}

func (s registryService) ListPasswords(
	_ context.Context, r *devices.ListRegistryPasswordsRequest,
) (*devices.ListRegistryPasswordsResponse, error) {
	e, err := s.k.registries.get(r.RegistryId)
	if err != nil {
		return nil, err
	}
	answer := new(devices.ListRegistryPasswordsResponse)
	for _, one := range e.private.Passwords {
		answer.Passwords = append(answer.Passwords, registryPassword(r.RegistryId, one))
	}
	return answer, nil
}

func registryPassword(id string, p password) *devices.RegistryPassword {
	return &devices.RegistryPassword{RegistryId: id, Id: p.ID, CreatedAt: since(p.CreatedAt)}
}

func (s registryService) AddPassword(ctx context.Context, r *devices.AddRegistryPasswordRequest) (*operation.Operation, error) {
	return s.k.registries.addPassword(ctx, r.RegistryId, r.Password, func(p password) proto.Message {
		return registryPassword(r.RegistryId, p)
	})
}

func (s registryService) DeletePassword(ctx context.Context, r *devices.DeleteRegistryPasswordRequest) (*operation.Operation, error) {
	return s.k.registries.deletePassword(ctx, r.RegistryId, r.PasswordId)
}

// ListDeviceTopicAliases is a page of the aliases of all devices of a registry, in their own order.
func (s registryService) ListDeviceTopicAliases(
	_ context.Context, r *devices.ListDeviceTopicAliasesRequest,
) (*devices.ListDeviceTopicAliasesResponse, error) {
	if _, err := s.k.registries.get(r.RegistryId); err != nil {
		return nil, err
	}
	p, err := pageOf("aliases "+r.RegistryId, r.PageSize, r.PageToken)
	if err != nil {
		return nil, err
	}
	var all []*devices.DeviceAlias
	for _, a := range s.k.directory.Aliases(r.RegistryId, p.after, p.size+1) {
		all = append(all, &devices.DeviceAlias{DeviceId: a.DeviceID, TopicPrefix: a.Target, Alias: a.Name})
	}
	all, next := cut(p, all, (*devices.DeviceAlias).GetAlias)
	return &devices.ListDeviceTopicAliasesResponse{Aliases: all, NextPageToken: next}, nil
}

func (s registryService) ListOperations(
	ctx context.Context, r *devices.ListRegistryOperationsRequest,
) (*devices.ListRegistryOperationsResponse, error) {
	all, next, err := operationsOf(ctx, s.k.registries, r.RegistryId, r.PageSize, r.PageToken, r.Filter)
	return &devices.ListRegistryOperationsResponse{Operations: all, NextPageToken: next}, err
}

// exports are what there is not: what a registry receives goes out by triggers.
var errExports = status.Error(codes.Unimplemented, "data stream exports are not offered: send what a registry receives on by a trigger, or by a stream with any output of Benthos")

func (s registryService) ListDataStreamExports(
	context.Context, *devices.ListDataStreamExportsRequest,
) (*devices.ListDataStreamExportsResponse, error) {
	return nil, errExports
}

func (s registryService) AddDataStreamExport(context.Context, *devices.AddDataStreamExportRequest) (*operation.Operation, error) {
	return nil, errExports
}

func (s registryService) DeleteDataStreamExport(context.Context, *devices.DeleteDataStreamExportRequest) (*operation.Operation, error) {
	return nil, errExports
}

// shown is a resource by its ID, with its version in a header.
func shown[T resource](ctx context.Context, k *kind[T], id string) (none T, err error) {
	e, err := k.get(id)
	if err != nil {
		return none, err
	}
	tag(ctx, e.version)
	return e.resource, nil
}
