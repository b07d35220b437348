package control

import (
	"strings"
	"testing"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Each method of each service that is offered answers for itself: none is left to the generated code.
func TestNoMethodIsForgotten(t *testing.T) {
	d := newDesk(t)
	for service, info := range d.server.grpc.GetServiceInfo() {
		if strings.HasPrefix(service, "grpc.") {
			continue
		}
		for _, m := range info.Methods {
			name := "/" + service + "/" + m.Name
			method := methodOf(name)
			if method == nil {
				t.Errorf("%s has no description", name)
				continue
			}
			// What each request needs to come as far as the service.
			request := dynamicpb.NewMessage(method.Input())
			for i := range method.Input().Fields().Len() {
				f := method.Input().Fields().Get(i)
				if rulesOf(f).required && f.Kind() == protoreflect.StringKind && !f.IsList() {
					request.Set(f, protoreflect.ValueOfString("nothing"))
				}
			}
			err := d.conn.Invoke(t.Context(), name, proto.Message(request), dynamicpb.NewMessage(method.Output()))
			if s := status.Convert(err); strings.HasPrefix(s.Message(), "method "+m.Name+" not implemented") {
				t.Errorf("%s: %v", name, s)
			}
		}
	}
}
