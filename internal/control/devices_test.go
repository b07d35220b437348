package control

import (
	"testing"

	devices "github.com/yandex-cloud/go-genproto/yandex/cloud/iot/devices/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

const goodPassword = "Correct-Horse-Battery-1"

func TestDevicesAreKept(t *testing.T) {
	d := newDesk(t)
	ctx := t.Context()
	home := d.registry("home")
	made := must(t, new(devices.Device))(d.devices.Create(ctx, &devices.CreateDeviceRequest{
		RegistryId: home.Id, Name: "boiler", Description: "In the cellar", Password: goodPassword,
		TopicAliases: map[string]string{"cellar/": "$devices/{id}/"}, Labels: map[string]string{"floor": "0"},
	}))
	if made.Id != "boiler" || made.RegistryId != "home" || made.Status != devices.Device_ACTIVE || made.TopicAliases["cellar/"] != "$devices/boiler/" {
		t.Fatalf("created %v", made)
	}
	if topic := d.cfg.Directory.Resolve("home", "cellar/events"); topic != "$devices/boiler/events" {
		t.Errorf("the alias stands for %q", topic)
	}
	changed := must(t, new(devices.Device))(d.devices.Update(ctx, &devices.UpdateDeviceRequest{
		DeviceId: made.Id, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"name", "labels"}}, Name: "burner", Description: "not this",
	}))
	if changed.Name != "burner" || changed.Description != "In the cellar" || len(changed.Labels) > 0 {
		t.Fatalf("changed to %v", changed)
	}
	d.restart()
	got, err := d.devices.GetByName(ctx, &devices.GetByNameDeviceRequest{RegistryId: "home", DeviceName: "burner"})
	if err != nil || got.Id != "boiler" || got.CreatedAt.AsTime() != made.CreatedAt.AsTime() {
		t.Fatalf("after a restart there is %v (%v)", got, err)
	}
	_, err = d.devices.GetByName(ctx, &devices.GetByNameDeviceRequest{RegistryId: "home", DeviceName: "boiler"})
	wants(t, err, codes.NotFound, "boiler")
	passwords, err := d.devices.ListPasswords(ctx, &devices.ListDevicePasswordsRequest{DeviceId: "boiler"})
	if err != nil || len(passwords.Passwords) != 1 || passwords.Passwords[0].Id == "" {
		t.Fatalf("passwords %v (%v)", passwords, err)
	}
	must(t, new(emptypb.Empty))(d.devices.Delete(ctx, &devices.DeleteDeviceRequest{DeviceId: "boiler"}))
	_, err = d.devices.Get(ctx, &devices.GetDeviceRequest{DeviceId: "boiler"})
	wants(t, err, codes.NotFound, "boiler")
	operations, err := d.devices.ListOperations(ctx, &devices.ListDeviceOperationsRequest{DeviceId: "boiler"})
	if err != nil || len(operations.Operations) != 3 || operations.Operations[0].Description != "Delete device" {
		t.Fatalf("operations %v (%v)", operations, err)
	}
	metadata := new(devices.CreateDeviceMetadata)
	if err := operations.Operations[2].Metadata.UnmarshalTo(metadata); err != nil || metadata.DeviceId != "boiler" {
		t.Errorf("metadata %v (%v)", metadata, err)
	}
}

func TestOneOfTwoChangesWins(t *testing.T) {
	d := newDesk(t)
	d.registry("home")
	d.device("home", "boiler")
	var header metadata.MD
	if _, err := d.devices.Get(t.Context(), &devices.GetDeviceRequest{DeviceId: "boiler"}, grpc.Header(&header)); err != nil || len(header.Get("etag")) != 1 {
		t.Fatalf("header %v (%v)", header, err)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "if-match", header.Get("etag")[0])
	update := &devices.UpdateDeviceRequest{DeviceId: "boiler", Description: "mine", UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"description"}}}
	if _, err := d.devices.Update(ctx, update); err != nil {
		t.Fatal(err)
	}
	_, err := d.devices.Update(ctx, update)
	wants(t, err, codes.Aborted, "boiler", "read it again")
}
