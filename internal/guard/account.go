package guard

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/iotcast/iotcast/internal/token"
)

// ErrUnavailable says that tokens cannot be verified, which is not the fault of who has one.
var ErrUnavailable = errors.New("tokens cannot be verified now, try again later")

// Account is the service account that the bearer token of a request is about. The error may be shown to the caller. For
// ErrUnavailable, cause says why.
func Account(ctx context.Context, v *token.Verifier, h http.Header) (account string, err, cause error) {
	raw, _ := token.Bearer(h)
	claims, err := v.Verify(ctx, raw)
	switch {
	case err != nil && token.Reason(err) == "keys_unavailable":
		return "", ErrUnavailable, err
	case err != nil:
		return "", fmt.Errorf("a valid bearer token is needed: %s", token.Reason(err)), err
	case claims.Subject() == "":
		return "", errors.New("the token has no sub claim, which is the ID of the service account"), nil
	}
	return claims.Subject(), nil, nil
}
