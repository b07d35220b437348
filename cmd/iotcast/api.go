package main

import (
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/iotcast/iotcast/internal/guard"
	"github.com/iotcast/iotcast/internal/streamsapi"
)

const (
	flagAPI             = "api"
	flagAPIUser         = "api-user"
	flagAPIPasswordFile = "api-password-file"

	// apiPasswordVariable has no flag: other users of the machine see arguments.
	apiPasswordVariable = "IOTCAST_API_PASSWORD"
)

// apiFlags say where the HTTP API of iotcast streams is, and who calls it.
func apiFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{
			Name: flagAPI, Value: streamsapi.DefaultAddress, EnvVars: []string{"IOTCAST_API"},
			Usage: "The `URL` of the HTTP API of iotcast streams", Category: "iotcast",
		},
		&cli.StringFlag{
			Name: flagAPIUser, EnvVars: []string{"IOTCAST_API_USER"},
			Usage: "The user `name` of its http_guard, with the password in the environment variable " + apiPasswordVariable, Category: "iotcast",
		},
		&cli.StringFlag{
			Name: flagAPIPasswordFile, EnvVars: []string{"IOTCAST_API_PASSWORD_FILE"},
			Usage: "A `file` with the password, instead of the variable", Category: "iotcast",
		},
		&cli.StringFlag{
			Name: flagToken, EnvVars: []string{"IOTCAST_TOKEN"}, Category: "iotcast",
			Usage: "The `token` of an administrator, where management_api has tokens. Better set the environment variable, or name a file",
		},
		&cli.StringFlag{Name: flagTokenFile, EnvVars: []string{"IOTCAST_TOKEN_FILE"}, Category: "iotcast", TakesFile: true, Usage: "A `file` with the token, instead"},
	}
}

// openAPI is the API that the flags name.
func openAPI(c *cli.Context) (*streamsapi.Client, error) {
	user, err := apiUser(c)
	if err != nil {
		return nil, err
	}
	api, err := streamsapi.New(c.String(flagAPI), user)
	if err != nil {
		return nil, fmt.Errorf("--%s %w", flagAPI, err)
	}
	token, err := readToken(c)
	if token == "" || user != nil || err != nil {
		return api, err
	}
	if e, err := parseEndpoint(c.String(flagAPI)); err == nil && !e.secure && !guard.Loopback(e.address) {
		return nil, fmt.Errorf("--%s %s has no TLS, and whoever is on the way could read the token: use https://", flagAPI, c.String(flagAPI))
	}
	api.Authorize(token)
	return api, nil
}

// apiUser is nil where there is none to log in as.
func apiUser(c *cli.Context) (*url.Userinfo, error) {
	name, password := c.String(flagAPIUser), os.Getenv(apiPasswordVariable)
	if path := c.String(flagAPIPasswordFile); path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading --%s: %w", flagAPIPasswordFile, err)
		}
		password = strings.TrimRight(string(text), "\r\n")
	}
	switch {
	case name == "" && password == "":
		return nil, nil
	case name == "" || password == "":
		return nil, fmt.Errorf("a user name (--%s) and a password (%s, or --%s) belong together", flagAPIUser, apiPasswordVariable, flagAPIPasswordFile)
	}
	return url.UserPassword(name, password), nil
}
