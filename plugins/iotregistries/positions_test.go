package iotregistries

import (
	"strings"
	"testing"
)

// TestFindings: an empty want is for what is right, or not known.
func TestFindings(t *testing.T) {
	const config = `x: &loft [ { id: cellar } ]
iot_registries:
  - id: greenhouse
    devices:
      - id: north
        aliases: { beds/: $devices/north/ }
      - id: south
  - id: attic
    devices:
      - id: loft
iot_brokers:
  - id: workshop
`
	for change, want := range map[string]string{
		"":                         "",
		"id: south|id: north":      `(7,1) registry "greenhouse": device "north" is there twice: each needs an ID of its own, since it is the user name to log in with (the other is in line 5)`,
		"id: loft|id: south":       `(10,1) registry "attic": device "south" has the same ID as one of registry "greenhouse"`,
		"id: attic|id: greenhouse": `(8,1) registry "greenhouse" is there twice`,
		"id: workshop|id: north":   `(12,1) broker "north" has the same ID as device "north"`,
		"id: south|id: south\n        aliases: { beds/x/: $devices/south/ }": `(7,1) registry "greenhouse": alias "beds/x/" of device "south" begins with`,
		"id: south|id: south\n        password_hashes: [ secret ]":           `(7,1) registry "greenhouse": device "south": password_hashes[0] is not a bcrypt hash`,
		"id: south|id: south\n        password_hashes: [ '${HASH}' ]":        "",
		"id: south|id: [ south ]":                                            "",
		"- id: loft|- &south { id: south }":                                  `(10,1) registry "attic"`,
		"devices:\n      - id: loft|devices: *loft":                          "",
		"iot_brokers:|input: {}\nothers:":                                    "",
	} {
		old, now, _ := strings.Cut(change, "|")
		var got []string
		for _, f := range Findings([]byte(strings.Replace(config, old, now, 1))) {
			got = append(got, f.String())
		}
		if all := strings.Join(got, "; "); (want == "") != (all == "") || !strings.Contains(all, want) {
			t.Errorf("%s: %q, want %q", change, all, want)
		}
	}
}
