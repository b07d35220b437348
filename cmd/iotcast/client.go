package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/operation"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

const (
	// patience is how long a call may take: what a trigger has read may have to go out first.
	patience = time.Minute
	// pollInterval is for operations that are not done when they are answered.
	pollInterval = 200 * time.Millisecond
	pageSize     = 1000
)

// client calls the services of the management API. They are alike, so it goes by their descriptions: a request is written
// as in the REST API, and its type is looked up.
type client struct {
	conn    *grpc.ClientConn
	address string
}

// body is that of a request, its fields by their names in the REST API.
type body map[string]any

// message is an answer with the version that it had.
type message struct {
	proto.Message
	etag string
}

// resource is what registries, devices, brokers and triggers have.
type resource interface {
	GetId() string
	GetName() string
	GetLabels() map[string]string
}

func (m message) id() string                { return m.Message.(resource).GetId() }
func (m message) name() string              { return m.Message.(resource).GetName() }
func (m message) labels() map[string]string { return m.Message.(resource).GetLabels() }

// call calls a method. Where that answers with an operation, it waits for the end of that, and returns the response. With an
// etag, the resource must still have that version.
func (a *client) call(ctx context.Context, service protoreflect.FullName, method string, in body, etag string) (message, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	described, err := describe(service, method)
	if err != nil {
		return message{}, err
	}
	request, err := newMessage(described.Input())
	if err != nil {
		return message{}, err
	}
	answer, err := newMessage(described.Output())
	if err != nil {
		return message{}, err
	}
	text, err := json.Marshal(in)
	if err == nil {
		err = protojson.Unmarshal(text, request)
	}
	if err != nil {
		return message{}, fmt.Errorf("writing the request: %w", err)
	}
	if etag != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "if-match", etag)
	}
	var header metadata.MD
	if err := a.conn.Invoke(ctx, fmt.Sprintf("/%s/%s", service, method), request, answer, grpc.Header(&header)); err != nil {
		return message{}, err
	}
	if op, ok := answer.(*operation.Operation); ok {
		answer, err = a.wait(ctx, op)
	}
	got := message{Message: answer}
	if values := header.Get("etag"); len(values) > 0 {
		got.etag = values[0]
	}
	return got, err
}

// wait returns the response of an operation when that is done.
func (a *client) wait(ctx context.Context, op *operation.Operation) (proto.Message, error) {
	operations := operation.NewOperationServiceClient(a.conn)
	for !op.Done {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("operation %s is not done within %v: it goes on by itself", op.Id, patience)
		case <-time.After(pollInterval):
		}
		var err error
		if op, err = operations.Get(ctx, &operation.GetOperationRequest{OperationId: op.Id}); err != nil {
			return nil, err
		}
	}
	if failed := op.GetError(); failed != nil {
		return nil, status.ErrorProto(failed)
	}
	if op.GetResponse() == nil {
		return nil, errors.New("the operation is done, but has no response")
	}
	return op.GetResponse().UnmarshalNew()
}

// list calls a method until there is no other page, and returns the entries of all.
func (a *client) list(ctx context.Context, service protoreflect.FullName, method string, in body) (all []proto.Message, err error) {
	described, err := describe(service, method)
	if err != nil {
		return nil, err
	}
	if described.Input().Fields().ByName("page_size") != nil {
		in["pageSize"] = pageSize
	}
	for {
		page, err := a.call(ctx, service, method, in, "")
		if err != nil {
			return nil, err
		}
		all = append(all, entries(page)...)
		next, ok := page.Message.(interface{ GetNextPageToken() string })
		if !ok || next.GetNextPageToken() == "" {
			return all, nil
		}
		in["pageToken"] = next.GetNextPageToken()
	}
}

// entries are those of a page: its only field that is a list.
func entries(page proto.Message) (all []proto.Message) {
	m := page.ProtoReflect()
	for i := range m.Descriptor().Fields().Len() {
		field := m.Descriptor().Fields().Get(i)
		if !field.IsList() {
			continue
		}
		list := m.Get(field).List()
		for j := range list.Len() {
			all = append(all, list.Get(j).Message().Interface())
		}
	}
	return all
}

func describe(service protoreflect.FullName, method string) (protoreflect.MethodDescriptor, error) {
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(service.Append(protoreflect.Name(method)))
	if err != nil {
		return nil, fmt.Errorf("%s.%s: %w", service, method, err)
	}
	return found.(protoreflect.MethodDescriptor), nil
}

func newMessage(d protoreflect.MessageDescriptor) (proto.Message, error) {
	kind, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.FullName(), err)
	}
	return kind.New().Interface(), nil
}
