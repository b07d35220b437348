//go:build !linux

package tests

// machines are network namespaces, which only Linux has.
type machines struct{}

func (*machines) port(string, string) string          { return "" }
func (*machines) on(_ string, args []string) []string { return args }

const mqttPort = ""
