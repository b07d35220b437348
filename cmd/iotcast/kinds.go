package main

import (
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"
	_ "github.com/yandex-cloud/go-genproto/yandex/cloud/iot/broker/v1" // the types of its service
	devices "github.com/yandex-cloud/go-genproto/yandex/cloud/iot/devices/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// kind is a kind of resources, whose service has methods such as Get and List, and in their requests its ID.
type kind struct {
	noun    string // device, in commands; its ID is deviceId in requests
	plural  string
	service protoreflect.FullName
	columns []column // of a list
	named   bool     // it has the method GetByName
	parent  *kind    // what it belongs to, within which names are unique
}

var (
	registryKind = &kind{
		noun: "registry", plural: "registries", service: "yandex.cloud.iot.devices.v1.RegistryService", named: true,
		columns: []column{field("ID", "id"), field("NAME", "name"), field("STATUS", "status")},
	}
	deviceKind = &kind{
		noun: "device", plural: "devices", service: "yandex.cloud.iot.devices.v1.DeviceService", named: true, parent: registryKind,
		columns: []column{field("ID", "id"), field("NAME", "name"), field("REGISTRY", "registry_id"), field("STATUS", "status")},
	}
	brokerKind = &kind{
		noun: "broker", plural: "brokers", service: "yandex.cloud.iot.broker.v1.BrokerService",
		columns: []column{field("ID", "id"), field("NAME", "name"), field("STATUS", "status")},
	}
	operationColumns = []column{
		field("ID", "id"), field("CREATED AT", "created_at"), field("CREATED BY", "created_by"), field("DESCRIPTION", "description"),
	}
)

// idField is its ID in requests.
func (k *kind) idField() string { return k.noun + "Id" }

// selectFlags choose one of a kind, as an operand does. Where prefix is not empty, they have it before their names.
func selectFlags(k *kind, prefix string) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: prefix + flagName, Usage: fmt.Sprintf("The `name` of the %s, instead of an argument", k.noun)},
		&cli.StringFlag{Name: prefix + flagID, Usage: fmt.Sprintf("The `ID` of the %s, instead of an argument", k.noun)},
	}
}

// parentFlags say what the resource belongs to, if it is of a kind that does.
func parentFlags(k *kind) []cli.Flag {
	if k.parent == nil {
		return nil
	}
	return []cli.Flag{
		&cli.StringFlag{Name: k.parent.noun + "-" + flagName, Usage: fmt.Sprintf("The `name` of its %s", k.parent.noun)},
		&cli.StringFlag{Name: k.parent.noun + "-" + flagID, Usage: fmt.Sprintf("The `ID` of its %s", k.parent.noun)},
	}
}

// ofParent is the ID of what the resource belongs to as far as flags say it, else empty.
func (c *call) ofParent(k *kind) (string, error) {
	if k.parent == nil {
		return "", nil
	}
	id, name := c.String(k.parent.noun+"-"+flagID), c.String(k.parent.noun+"-"+flagName)
	if id != "" && name != "" {
		return "", c.misused("give --%[1]s-%[2]s or --%[1]s-%[3]s", k.parent.noun, flagName, flagID)
	}
	if name == "" {
		return id, nil
	}
	found, err := c.byName(k.parent, "", name)
	if err != nil {
		return "", err
	}
	return found.id(), nil
}

// selected are the resources that operands or flags choose.
func (c *call) selected(k *kind, prefix string) (all []message, err error) {
	parent, err := c.ofParent(k)
	if err != nil {
		return nil, err
	}
	for _, choice := range c.choices(prefix) {
		found, err := choice.find(c, k, parent, choice.word)
		if err != nil {
			return nil, err
		}
		all = append(all, found)
	}
	if len(all) == 0 {
		return nil, c.misused("name a %s", k.noun)
	}
	return all, nil
}

// one is the only resource that is chosen.
func (c *call) one(k *kind, prefix string) (message, error) {
	if len(c.choices(prefix)) > 1 {
		return message{}, c.misused("name one %s only", k.noun)
	}
	all, err := c.selected(k, prefix)
	if err != nil {
		return message{}, err
	}
	return all[0], nil
}

// choice is a word by which a resource is chosen, and how that is meant.
type choice struct {
	word string
	find func(c *call, k *kind, parent, word string) (message, error)
}

func (c *call) choices(prefix string) (all []choice) {
	for _, name := range c.names {
		all = append(all, choice{name, (*call).byEither})
	}
	if name := c.String(prefix + flagName); name != "" {
		all = append(all, choice{name, (*call).byName})
	}
	if id := c.String(prefix + flagID); id != "" {
		all = append(all, choice{id, (*call).byID})
	}
	return all
}

func (c *call) byID(k *kind, parent, id string) (message, error) {
	in := body{k.idField(): id}
	if k == deviceKind {
		in["deviceView"] = devices.DeviceView_FULL.String()
	}
	found, err := c.request(k, "Get", in, "")
	if err == nil && parent != "" && parentOf(found) != parent {
		return message{}, fmt.Errorf("%s %q belongs to %s %q, and not to %q", k.noun, id, k.parent.noun, parentOf(found), parent)
	}
	return found, err
}

func (c *call) byName(k *kind, parent, name string) (message, error) {
	if k.named && (k.parent == nil || parent != "") {
		in := body{k.noun + "Name": name}
		if k.parent != nil {
			in[k.parent.idField()] = parent
			in["deviceView"] = devices.DeviceView_FULL.String()
		}
		return c.request(k, "GetByName", in, "")
	}
	all, err := c.all(k, "List", listOf(k, ""))
	if err != nil {
		return message{}, err
	}
	all = slices.DeleteFunc(all, func(m proto.Message) bool { return m.(resource).GetName() != name })
	switch {
	case len(all) == 0:
		return message{}, status.Errorf(codes.NotFound, "there is no %s named %q: see iotcast %s list", k.noun, name, k.noun)
	case len(all) > 1:
		return message{}, fmt.Errorf("there is more than one %s named %q: give --%s-%s or --%s", k.noun, name, k.parent.noun, flagName, flagID)
	}
	return c.byID(k, "", all[0].(resource).GetId())
}

// byEither takes a word for a name or an ID, which are mostly the same. Where they are those of two, the user has to say.
func (c *call) byEither(k *kind, parent, word string) (message, error) {
	found, errID := c.byID(k, parent, word)
	if errID == nil && found.name() == word {
		return found, nil
	}
	if errID != nil && status.Code(errID) != codes.NotFound && status.Code(errID) != codes.InvalidArgument && parent == "" {
		return message{}, errID
	}
	named, errName := c.byName(k, parent, word)
	switch {
	case errName == nil && errID == nil:
		return message{}, fmt.Errorf("%q is the ID of the %[2]s %q, and the name of another: say --%s or --%s", word, k.noun, found.name(), flagID, flagName)
	case errName == nil:
		return named, nil
	case errID == nil:
		return found, nil
	case status.Code(errName) == codes.NotFound:
		return message{}, fmt.Errorf("there is no %s with the name or ID %q: see iotcast %s list", k.noun, word, k.noun)
	}
	return message{}, errName
}

// listOf is the request for all of a kind, within what they belong to if that is given.
func listOf(k *kind, parent string) body {
	if k.parent != nil && parent != "" {
		return body{k.parent.idField(): parent}
	}
	return body{"folderId": ""} // all of them
}

// parentOf is the ID of what a resource belongs to.
func parentOf(m message) string {
	if of, ok := m.Message.(interface{ GetRegistryId() string }); ok {
		return of.GetRegistryId()
	}
	return ""
}

// each does something with all that are chosen, and says with which it failed.
func (c *call) each(k *kind, doing string, do func(message) (message, error)) (done []proto.Message, err error) {
	all, err := c.selected(k, "")
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		got, err := do(m)
		if err != nil {
			return done, fmt.Errorf("%s %s %s: %w", doing, k.noun, m.name(), err)
		}
		done = append(done, got.Message)
	}
	return done, nil
}
