package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/iotcast/iotcast/internal/registry"
)

func passwordCommand() *cli.Command {
	return &cli.Command{
		Name:  "password",
		Usage: "Print the hash of a password, for password_hashes in iot_registries and iot_brokers",
		Description: `
Asks for a password, or reads it from the standard input if that is no terminal,
and prints its bcrypt hash. The password needs at least 14 characters of three of
these four groups: lower case, upper case, digits, others.

   iotcast password
   openssl rand -base64 24 | tee password.txt | iotcast password`[1:],
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return cli.Exit("iotcast password takes no arguments: others could see a password in them; it asks for it", 2)
			}
			password, err := readPassword(c.App.Reader)
			if err != nil {
				return cli.Exit(err.Error(), 1)
			}
			hash, err := registry.HashPassword(password)
			if err != nil {
				return cli.Exit(err.Error(), 1)
			}
			fmt.Fprintln(c.App.Writer, hash)
			return nil
		},
	}
}

func readPassword(in io.Reader) (string, error) {
	file, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		line, err := bufio.NewReader(in).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("reading the password: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	password, err := ask(file, "Password: ")
	if err != nil {
		return "", err
	}
	again, err := ask(file, "Again: ")
	if err == nil && again != password {
		err = errors.New("the two passwords are not the same")
	}
	return password, err
}

func ask(terminal *os.File, prompt string) (string, error) {
	fmt.Fprint(os.Stderr, prompt)
	text, err := term.ReadPassword(int(terminal.Fd()))
	fmt.Fprintln(os.Stderr)
	if err != nil {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	return string(text), nil
}
