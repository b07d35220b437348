// Package console is the page of operators. It has no power of its own: what it shows and does goes over the management API,
// by the token that whoever looks at it has given it. Its document is made of the folder page, see internal/page/bundle.
package console

import (
	_ "embed"
	"net/http"

	"github.com/iotcast/iotcast/internal/page"
)

//go:embed console.html
var document string

// Handler serves the page, which is no secret.
func Handler() http.Handler { return page.Handler(document) }
