package lab

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/iotcast/iotcast/tests/bench/internal/fleet"
)

// registryID is the registry of the devices, and the user that reads their events.
const registryID = "bench"

// fleetPassword is everybody's. Each login is checked all the same.
const fleetPassword = "Correct-Horse-1"

// Broker is a broker that many devices log in to.
type Broker struct {
	*Process
	Address string // host:port
}

// FleetOptions are what the rows change.
type FleetOptions struct {
	Devices int
	Cost    int // of the bcrypt hashes of iotcast
	Aliases int // of each device of iotcast; Mosquitto has no such thing
}

// StartBroker starts the broker of a peer with all its devices, each with a
// password and the right to its own topics.
func (l *Lab) StartBroker(peer string, o FleetOptions) (b *Broker, err error) {
	b = &Broker{}
	if b.Address, err = freeAddress(); err != nil {
		return nil, err
	}
	if peer == "mosquitto" {
		err = l.startFleetMosquitto(b, o)
	} else {
		err = l.startRegistries(b, o)
	}
	if err != nil {
		return nil, err
	}
	return b, l.waitForPort(b.Process, b.Address)
}

// startRegistries starts iotcast with nothing but its embedded broker and a registry.
func (l *Lab) startRegistries(b *Broker, o FleetOptions) error {
	hash, err := bcrypt.GenerateFromPassword([]byte(fleetPassword), o.Cost)
	if err != nil {
		return err
	}
	hashes := []string{string(hash)}
	devices := make([]Map, o.Devices)
	for i := range devices {
		id, aliases := fleet.DeviceID(i), map[string]string{}
		for n := range o.Aliases {
			aliases[fmt.Sprintf("hall-%d/%s/", n, id)] = "$devices/" + id + "/"
		}
		devices[i] = Map{"id": id, "password_hashes": hashes, "aliases": aliases}
	}
	file, err := l.write(Map{
		"http":           Map{"enabled": false},
		"logger":         Map{"level": "WARN"},
		"metrics":        Map{"none": Map{}},
		"mqtt_broker":    Map{"address": b.Address},
		"iot_registries": []Map{{"id": registryID, "password_hashes": hashes, "devices": devices}},
	})
	if err != nil {
		return err
	}
	if b.Process, err = l.start("iotcast", l.iotcast, "streams", "-o", file); err != nil {
		return err
	}
	b.discard()
	return nil
}

// startFleetMosquitto starts Mosquitto with a password file and an ACL file.
func (l *Lab) startFleetMosquitto(b *Broker, o FleetOptions) error {
	program, err := exec.LookPath("mosquitto_passwd")
	if err != nil {
		return err
	}
	passwords, acl := l.file("passwords"), l.file("acl")
	if out, err := l.Run(program, "-b", "-c", passwords, registryID, fleetPassword); err != nil {
		return fmt.Errorf("mosquitto_passwd: %w\n%s", err, out)
	}
	line, err := os.ReadFile(passwords)
	if err != nil {
		return err
	}
	_, hash, _ := bytes.Cut(bytes.TrimSpace(line), []byte(":"))
	var users strings.Builder
	fmt.Fprintf(&users, "%s:%s\n", registryID, hash)
	for i := range o.Devices {
		fmt.Fprintf(&users, "%s:%s\n", fleet.DeviceID(i), hash)
	}
	if err := os.WriteFile(passwords, []byte(users.String()), 0o600); err != nil {
		return err
	}
	rights := "user " + registryID + "\ntopic read $devices/+/events\n\npattern write $devices/%u/events\n"
	if err := os.WriteFile(acl, []byte(rights), 0o600); err != nil {
		return err
	}
	b.Process, err = l.mosquitto(listener(b.Address), "allow_anonymous false", "password_file "+passwords, "acl_file "+acl)
	return err
}

// Fleet is the devices of a Broker, and who reads what they publish.
type Fleet struct{ *Process }

// StartFleet starts them. Nobody but the reader is connected yet.
func (l *Lab) StartFleet(b *Broker, devices int, qos byte, size int) (*Fleet, error) {
	p, err := l.start("fleet", self(PartFleet, fleet.Config{
		Broker: b.Address, Devices: devices, Password: fleetPassword, QoS: qos, Size: size,
		Reader: registryID, Filter: "$devices/+/events",
	})...)
	return &Fleet{p}, err
}

// Obey runs one phase to its end.
func (f *Fleet) Obey(o fleet.Order) (r fleet.Report, err error) {
	if err := f.tell(o); err != nil {
		return r, fmt.Errorf("fleet: %w: %s", err, f.complaint())
	}
	if err := f.hear(&r); err != nil {
		return r, err
	}
	if r.Rejected != "" {
		return r, fmt.Errorf("fleet: %s", r.Rejected)
	}
	return r, nil
}
