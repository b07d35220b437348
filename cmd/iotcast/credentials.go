package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/iotcast/iotcast/internal/registry"
)

const (
	flagCertificateFile  = "certificate-file"
	flagFingerprint      = "fingerprint"
	flagPassword         = "password"
	flagReadPassword     = "read-password"
	flagGeneratePassword = "generate-password"
	flagPasswordID       = "password-id"
)

// certificateCommand is for the certificates that a kind may log in to the MQTT broker with.
func certificateCommand(k *kind) *cli.Command {
	flags := append(selectFlags(k, k.noun+"-"), parentFlags(k)...)
	columns := []column{field("FINGERPRINT", "fingerprint"), field("CREATED AT", "created_at")}
	return &cli.Command{
		Name:  "certificate",
		Usage: fmt.Sprintf("Say with which certificates a %s may log in to the MQTT broker", k.noun),
		Subcommands: []*cli.Command{
			command(cli.Command{
				Name: "add", Usage: "Add a certificate", ArgsUsage: operandUsage,
				Flags: slices.Concat(flags, certificateFlags(), []cli.Flag{formatFlag()}),
			}, func(c *call) error {
				texts, err := c.certificates()
				if err != nil {
					return err
				}
				if len(texts) != 1 {
					return c.misused("give one --%s", flagCertificateFile)
				}
				in := body{"certificateData": texts[0]["certificateData"]}
				added, err := c.ofOne(k, "AddCertificate", in)
				if err != nil {
					return err
				}
				return c.print(added)
			}),
			command(cli.Command{
				Name: "list", Usage: "List the certificates", ArgsUsage: operandUsage, Flags: slices.Concat(flags, []cli.Flag{formatFlag()}),
			}, func(c *call) error { return c.listCredentials(k, "ListCertificates", columns) }),
			command(cli.Command{
				Name: "delete", Usage: "Remove a certificate: who is connected by it is disconnected", ArgsUsage: operandUsage,
				Flags: slices.Concat(flags, []cli.Flag{&cli.StringFlag{Name: flagFingerprint, Usage: "The `fingerprint` of the certificate, as list prints it"}}),
			}, func(c *call) error { return c.deleteCredential(k, "DeleteCertificate", flagFingerprint, "fingerprint") }),
		},
	}
}

// passwordsCommand is for the passwords that a kind may log in to the MQTT broker with.
func passwordsCommand(k *kind) *cli.Command {
	flags := append(selectFlags(k, k.noun+"-"), parentFlags(k)...)
	columns := []column{field("ID", "id"), field("CREATED AT", "created_at")}
	return &cli.Command{
		Name:  "password",
		Usage: fmt.Sprintf("Say with which passwords a %s may log in to the MQTT broker", k.noun),
		Subcommands: []*cli.Command{
			command(cli.Command{
				Name: "add", Usage: "Add a password, beside those that are there", ArgsUsage: operandUsage,
				Flags: slices.Concat(flags, passwordFlags(), []cli.Flag{formatFlag()}),
			}, func(c *call) error {
				password, generated, err := c.password()
				if err != nil {
					return err
				}
				if password == "" {
					return c.misused("say which: --%s, --%s or --%s", flagGeneratePassword, flagReadPassword, flagPassword)
				}
				added, err := c.ofOne(k, "AddPassword", body{"password": password})
				if err != nil {
					return err
				}
				return c.printWithPassword(added, password, generated)
			}),
			command(cli.Command{
				Name: "list", Usage: "List the passwords by their IDs: none is ever shown", ArgsUsage: operandUsage, Flags: slices.Concat(flags, []cli.Flag{formatFlag()}),
			}, func(c *call) error { return c.listCredentials(k, "ListPasswords", columns) }),
			command(cli.Command{
				Name: "delete", Usage: "Remove a password: who is connected by it is disconnected", ArgsUsage: operandUsage,
				Flags: slices.Concat(flags, []cli.Flag{&cli.StringFlag{Name: flagPasswordID, Usage: "The `ID` of the password, as list prints it"}}),
			}, func(c *call) error { return c.deleteCredential(k, "DeletePassword", flagPasswordID, "passwordId") }),
		},
	}
}

// ofOne calls a method about the resource that is chosen.
func (c *call) ofOne(k *kind, method string, in body) (message, error) {
	m, err := c.one(k, k.noun+"-")
	if err != nil {
		return message{}, err
	}
	in[k.idField()] = m.id()
	return c.request(k, method, in, "")
}

func (c *call) listCredentials(k *kind, method string, columns []column) error {
	m, err := c.one(k, k.noun+"-")
	if err != nil {
		return err
	}
	all, err := c.all(k, method, body{k.idField(): m.id()})
	if err != nil {
		return err
	}
	return c.printList(columns, all)
}

func (c *call) deleteCredential(k *kind, method, flag, name string) error {
	which := c.String(flag)
	if which == "" {
		return c.misused("--%s is missing", flag)
	}
	if _, err := c.ofOne(k, method, body{name: which}); err != nil {
		return err
	}
	c.tell("Deleted %s.", which)
	return nil
}

func certificateFlags() []cli.Flag {
	return []cli.Flag{&cli.StringSliceFlag{Name: flagCertificateFile, Usage: "A `file` with a certificate to log in with, in PEM", TakesFile: true}}
}

// certificates are those of the files, as a request to create has them.
func (c *call) certificates() (all []map[string]string, err error) {
	for _, path := range c.StringSlice(flagCertificateFile) {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading --%s: %w", flagCertificateFile, err)
		}
		all = append(all, map[string]string{"certificateData": string(text)})
	}
	return all, nil
}

func passwordFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: flagPassword, Usage: "A `password` to log in with, of at least 14 characters. Other users of this machine see arguments"},
		&cli.BoolFlag{Name: flagReadPassword, Usage: "Ask for the password, or read it from the standard input"},
		&cli.BoolFlag{Name: flagGeneratePassword, Usage: "Make a password, and print it this once"},
	}
}

// password is the one that flags ask for, empty if they ask for none.
func (c *call) password() (password string, generated bool, err error) {
	asked := 0
	for _, flag := range []string{flagPassword, flagReadPassword, flagGeneratePassword} {
		if c.IsSet(flag) {
			asked++
		}
	}
	switch {
	case asked > 1:
		return "", false, c.misused("give one of --%s, --%s and --%s", flagPassword, flagReadPassword, flagGeneratePassword)
	case c.Bool(flagGeneratePassword):
		return generatePassword(), true, nil
	case c.Bool(flagReadPassword):
		password, err = readPassword(c.App.Reader)
	default:
		password = c.String(flagPassword)
	}
	if err == nil && asked == 1 {
		err = registry.CheckPassword(password)
	}
	return password, false, err
}

// generatePassword makes one of 144 random bits that the service takes.
func generatePassword() string {
	for {
		random := make([]byte, 18)
		_, _ = rand.Read(random) // never fails
		if password := base64.RawURLEncoding.EncodeToString(random); registry.CheckPassword(password) == nil {
			return password
		}
	}
}

// printWithPassword prints a resource, and with it a password that was made here: nobody could know it otherwise.
func (c *call) printWithPassword(m message, password string, generated bool) error {
	if !generated {
		return c.print(m)
	}
	text, err := c.format.encode(m)
	if err != nil {
		return err
	}
	last, err := json.Marshal(password)
	if err != nil {
		return err
	}
	text = append(text[:len(text)-1], fmt.Sprintf(`,"password":%s}`, last)...) // a resource has an ID at least
	if err := c.format.writeJSON(c.App.Writer, text); err != nil {
		return err
	}
	c.tell("Keep the password: it is not shown again.")
	return nil
}
