package control

import (
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/iotcast/iotcast/internal/access"
)

// open reports whether a method needs no token: a probe has none, and clients of the original ask for the addresses of
// its services before they know where to get one.
func open(method string) bool {
	return strings.HasPrefix(method, "/grpc.health.") || strings.HasPrefix(method, "/yandex.cloud.endpoint.")
}

// reads reports whether a method changes nothing.
func reads(method string) bool {
	name := method[strings.LastIndexByte(method, '/')+1:]
	return strings.HasPrefix(name, "Get") || strings.HasPrefix(name, "List") || strings.HasPrefix(method, "/grpc.")
}

// sends reports whether a method sends a message, of which there may be very many.
func sends(method string) bool {
	return strings.HasSuffix(method, "/Publish") || strings.HasSuffix(method, "/Send") || strings.HasSuffix(method, "/Broadcast")
}

// need is the role that a method takes.
func need(method string) string {
	switch {
	case method == exportState || method == importState:
		return access.AdminOfAll
	case strings.HasSuffix(method, "/Publish"):
		return access.DevicesWriter
	case reads(method):
		return access.ViewerOfAll
	}
	return access.EditorOfAll
}

// authorise fails unless the caller has the role that the method takes on what the request names. Connections are a matter
// of their gateways, and operations of who has made them: the services ask themselves.
func (c *calls) authorise(this *call, method string) error {
	if method == accountMethod || method == checkTriggerMethod || strings.Contains(method, ".ConnectionService/") || strings.Contains(method, ".OperationService/") {
		return nil
	}
	role := need(method)
	resources := c.concerned(this.ids)
	if this.may(role, resources...) {
		return nil
	}
	return denied(this.account, role, resources...)
}

// denied says what is missing, and where to add it.
func denied(account, role string, resources ...string) error {
	on := ""
	if len(resources) > 0 {
		on = fmt.Sprintf(" on %.64q", resources[0])
	}
	return status.Errorf(codes.PermissionDenied, "service account %q lacks the role %s%s: add it to management_api.access_bindings", account, role, on)
}

// concerned are what a request is about: a device is its registry's, too.
func (c *calls) concerned(ids map[string]string) (resources []string) {
	for _, name := range idFields[:4] {
		if ids[name] != "" {
			resources = append(resources, ids[name])
		}
	}
	if p, ok := c.directory.Principal(ids["device_id"]); ok && ids["device_id"] != "" {
		resources = append(resources, p.Registry)
	}
	return resources
}
