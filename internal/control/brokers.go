package control

import (
	"context"

	brokers "github.com/yandex-cloud/go-genproto/yandex/cloud/iot/broker/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/operation"
	"google.golang.org/protobuf/proto"

	"github.com/iotcast/iotcast/internal/state"
)

// brokerService is yandex.cloud.iot.broker.v1.BrokerService.
type brokerService struct {
	brokers.UnimplementedBrokerServiceServer
	k *keeper
}

func (s brokerService) Get(ctx context.Context, r *brokers.GetBrokerRequest) (*brokers.Broker, error) {
	return shown(ctx, s.k.brokers, r.BrokerId)
}

func (s brokerService) List(_ context.Context, r *brokers.ListBrokersRequest) (*brokers.ListBrokersResponse, error) {
	p, err := pageOf("brokers", r.PageSize, r.PageToken)
	if err != nil {
		return nil, err
	}
	all, next, err := s.k.brokers.list("", p, func(_ *state.Tx, one *brokers.Broker) bool { return r.FolderId == "" || r.FolderId == one.FolderId })
	return &brokers.ListBrokersResponse{Brokers: all, NextPageToken: next}, err
}

func (s brokerService) Create(ctx context.Context, r *brokers.CreateBrokerRequest) (*operation.Operation, error) {
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
	id, end := s.k.brokers.choose(r.Name)
	defer end()
	return s.k.brokers.create(ctx, &entry[*brokers.Broker]{private: secrets, resource: &brokers.Broker{
		Id: id, FolderId: r.FolderId, CreatedAt: now(), Name: r.Name, Description: r.Description, Labels: r.Labels,
		Status: brokers.Broker_ACTIVE,
	}})
}

func (s brokerService) Update(ctx context.Context, r *brokers.UpdateBrokerRequest) (*operation.Operation, error) {
	return s.k.brokers.update(ctx, r.BrokerId, func(e *entry[*brokers.Broker]) (proto.Message, error) {
		return e.resource, merge(r.UpdateMask, r, e.resource, "name", "description", "labels")
	})
}

func (s brokerService) Delete(ctx context.Context, r *brokers.DeleteBrokerRequest) (*operation.Operation, error) {
	return s.k.brokers.delete(ctx, r.BrokerId)
}

func (s brokerService) ListCertificates(
	_ context.Context, r *brokers.ListBrokerCertificatesRequest,
) (*brokers.ListBrokerCertificatesResponse, error) {
	e, err := s.k.brokers.get(r.BrokerId)
	if err != nil {
		return nil, err
	}
	answer := new(brokers.ListBrokerCertificatesResponse)
	for _, one := range e.private.Certificates {
		answer.Certificates = append(answer.Certificates, brokerCertificate(r.BrokerId, one))
	}
	return answer, nil
}

func brokerCertificate(id string, c certificate) *brokers.BrokerCertificate {
	return &brokers.BrokerCertificate{BrokerId: id, Fingerprint: c.Fingerprint, CertificateData: c.Data, CreatedAt: since(c.CreatedAt)}
}

func (s brokerService) AddCertificate(ctx context.Context, r *brokers.AddBrokerCertificateRequest) (*operation.Operation, error) {
	return s.k.brokers.addCertificate(ctx, r.BrokerId, r.CertificateData, func(c certificate) proto.Message {
		return brokerCertificate(r.BrokerId, c)
	})
}

func (s brokerService) DeleteCertificate(ctx context.Context, r *brokers.DeleteBrokerCertificateRequest) (*operation.Operation, error) {
	return s.k.brokers.deleteCertificate(ctx, r.BrokerId, r.Fingerprint)
}

func (s brokerService) ListPasswords(
	_ context.Context, r *brokers.ListBrokerPasswordsRequest,
) (*brokers.ListBrokerPasswordsResponse, error) {
	e, err := s.k.brokers.get(r.BrokerId)
	if err != nil {
		return nil, err
	}
	answer := new(brokers.ListBrokerPasswordsResponse)
	for _, one := range e.private.Passwords {
		answer.Passwords = append(answer.Passwords, brokerPassword(r.BrokerId, one))
	}
	return answer, nil
}

func brokerPassword(id string, p password) *brokers.BrokerPassword {
	return &brokers.BrokerPassword{BrokerId: id, Id: p.ID, CreatedAt: since(p.CreatedAt)}
}

func (s brokerService) AddPassword(ctx context.Context, r *brokers.AddBrokerPasswordRequest) (*operation.Operation, error) {
	return s.k.brokers.addPassword(ctx, r.BrokerId, r.Password, func(p password) proto.Message { return brokerPassword(r.BrokerId, p) })
}

func (s brokerService) DeletePassword(ctx context.Context, r *brokers.DeleteBrokerPasswordRequest) (*operation.Operation, error) {
	return s.k.brokers.deletePassword(ctx, r.BrokerId, r.PasswordId)
}

func (s brokerService) ListOperations(
	ctx context.Context, r *brokers.ListBrokerOperationsRequest,
) (*brokers.ListBrokerOperationsResponse, error) {
	all, next, err := operationsOf(ctx, s.k.brokers, r.BrokerId, r.PageSize, r.PageToken, r.Filter)
	return &brokers.ListBrokerOperationsResponse{Operations: all, NextPageToken: next}, err
}
