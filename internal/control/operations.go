package control

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/api"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/operation"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/state"
)

// newOperation is that of a change that is done: with the metadata that the method's options name, filled with the IDs that
// the change is about, and the response. No response stands for Empty.
func newOperation(ctx context.Context, ids map[string]string, response proto.Message) (*operation.Operation, error) {
	this := callOf(ctx)
	if response == nil {
		response = &emptypb.Empty{}
	}
	answer, err := anypb.New(response)
	if err != nil {
		return nil, err
	}
	description, metadata := "Import state", (*anypb.Any)(nil)
	if this.method != nil {
		description = describe(this.method)
		if metadata, err = metadataOf(this.method, ids); err != nil {
			return nil, err
		}
	}
	now := timestamppb.New(time.Now().UTC().Truncate(time.Millisecond))
	return &operation.Operation{
		Id:          strings.ReplaceAll(uuid.Must(uuid.NewV7()).String(), "-", ""), // in the order of time
		Description: description,
		CreatedAt:   now,
		ModifiedAt:  now,
		CreatedBy:   this.caller(),
		Done:        true,
		Metadata:    metadata,
		Result:      &operation.Operation_Response{Response: answer},
	}, nil
}

// describe is a method in words: Create device.
func describe(method protoreflect.MethodDescriptor) string {
	noun := strings.ToLower(strings.TrimSuffix(string(method.Parent().Name()), "Service"))
	verb, rest := string(method.Name()), ""
	for i, r := range verb {
		if i > 0 && r >= 'A' && r <= 'Z' {
			verb, rest = verb[:i], " "+strings.ToLower(verb[i:])
			break
		}
	}
	if rest == "" {
		return verb + " " + noun
	}
	return verb + rest + " of " + noun
}

func metadataOf(method protoreflect.MethodDescriptor, ids map[string]string) (*anypb.Any, error) {
	option, _ := proto.GetExtension(method.Options(), api.E_Operation).(*api.Operation)
	name := method.ParentFile().Package().Append(protoreflect.Name(option.GetMetadata()))
	kind, err := protoregistry.GlobalTypes.FindMessageByName(name)
	if err != nil {
		return nil, fmt.Errorf("looking for the metadata of %s: %w", method.FullName(), err)
	}
	metadata := kind.New()
	for field, id := range ids {
		if f := metadata.Descriptor().Fields().ByName(protoreflect.Name(field)); f != nil {
			metadata.Set(f, protoreflect.ValueOfString(id))
		}
	}
	return anypb.New(metadata.Interface())
}

// keep writes an operation beside the change that it is of.
func keep(tx *state.Tx, op *operation.Operation, resource string) error {
	text, err := proto.Marshal(op)
	if err != nil {
		return err
	}
	return tx.AddOperation(op.Id, resource, text)
}

// operationsOf is a page of the operations about a resource, the newest first: of one that was there before under the same ID,
// only those see them who may see everything.
func operationsOf[T resource](
	ctx context.Context, k *kind[T], id string, size int64, token, filter string,
) (all []*operation.Operation, next string, err error) {
	if filter != "" {
		return nil, "", invalid(wrong("filter", "is not offered: leave it out"))
	}
	e, err := k.get(id)
	switch everything := callOf(ctx).may(access.ViewerOfAll); {
	case err != nil && (status.Code(err) != codes.NotFound || !everything):
		return nil, "", err
	case everything:
		e = nil
	}
	resource := k.about(id)
	p, err := pageOf("operations "+resource, size, token)
	if err != nil {
		return nil, "", err
	}
	err = k.state.Read(func(tx *state.Tx) error {
		if e != nil && p.after != "" { // who may not see everything may not begin behind the first, either
			if first, err := readOperation(tx.Operation(p.after)); err != nil || isCreation(first) {
				return err
			}
		}
		for _, text := range tx.Operations(resource, p.after, p.size+1) {
			op, err := readOperation(text)
			if err != nil || e != nil && op.CreatedAt.AsTime().Before(e.createdAt()) {
				return err
			}
			all = append(all, op)
			if e != nil && isCreation(op) { // what was before may be of the same millisecond
				return nil
			}
		}
		return nil
	})
	all, next = cut(p, all, (*operation.Operation).GetId)
	return all, next, err
}

// readOperation is an operation as it is kept. Of one that is not there, all is empty.
func readOperation(text []byte) (*operation.Operation, error) {
	op := new(operation.Operation)
	if err := proto.Unmarshal(text, op); err != nil {
		return nil, fmt.Errorf("reading an operation of the state: %w", err)
	}
	return op, nil
}

// isCreation reports whether an operation has made its resource, or is not there.
func isCreation(op *operation.Operation) bool {
	return op.Id == "" || strings.HasPrefix(string(op.Metadata.MessageName().Name()), "Create")
}

// operationService is yandex.cloud.operation.OperationService.
type operationService struct {
	operation.UnimplementedOperationServiceServer
	k *keeper
}

// Get returns an operation, to who has made it or may see everything. All of them are done when they are answered, so there is
// nothing to wait for.
func (s operationService) Get(ctx context.Context, r *operation.GetOperationRequest) (*operation.Operation, error) {
	op := new(operation.Operation)
	err := s.k.state.Read(func(tx *state.Tx) error {
		text := tx.Operation(r.OperationId)
		if text == nil {
			return status.Errorf(codes.NotFound, "operation %.64q is not there, or so old that it is not kept", r.OperationId)
		}
		return proto.Unmarshal(text, op)
	})
	if err != nil {
		return nil, err
	}
	if this := callOf(ctx); op.CreatedBy != this.caller() && !this.may(access.ViewerOfAll) {
		return nil, denied(this.account, access.ViewerOfAll)
	}
	return op, nil
}

// Cancel answers with the operation as it is: what is done cannot be cancelled.
func (s operationService) Cancel(ctx context.Context, r *operation.CancelOperationRequest) (*operation.Operation, error) {
	return s.Get(ctx, &operation.GetOperationRequest{OperationId: r.OperationId})
}
