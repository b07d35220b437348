package control

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// plainRoute is a route to a method that no published type describes, over HTTP alone. Its name is one of a service, such as
// /iotcast.StateService/Export.
type plainRoute struct {
	Route
	do func(context.Context, http.ResponseWriter, *http.Request) error
}

func plainRouteTo(
	verb, path string, body bool, method string, do func(context.Context, http.ResponseWriter, *http.Request) error,
) plainRoute {
	return plainRoute{Route{Verb: verb, Path: path, Body: body, Method: method, pattern: patternOfPath(path, "[^/]+")}, do}
}

// plain is a handler with such routes before it. They have all that the others have: tokens, roles, and the audit log. What is
// in braces in a path is a path value of the request.
func (c *calls) plain(next http.Handler, routes []plainRoute) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var verbs []string
		for _, one := range routes {
			match := one.pattern.FindStringSubmatch(r.URL.Path)
			if match == nil {
				continue
			}
			if one.Verb != r.Method {
				verbs = append(verbs, one.Verb)
				continue
			}
			for i, name := range one.pattern.SubexpNames() {
				value, err := url.PathUnescape(match[i])
				if err != nil {
					refuse(w, r, http.StatusNotFound, codes.NotFound, "the path is malformed")
					return
				}
				r.SetPathValue(name, value)
			}
			c.serve(w, r, one)
			return
		}
		if verbs != nil {
			slices.Sort(verbs)
			w.Header().Set("Allow", strings.Join(verbs, ", "))
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (c *calls) serve(w http.ResponseWriter, r *http.Request, route plainRoute) {
	_, err := c.intercept(r.Context(), nil, &grpc.UnaryServerInfo{FullMethod: route.Method}, func(ctx context.Context, _ any) (any, error) {
		return nil, route.do(ctx, w, r)
	})
	if err != nil {
		s := status.Convert(err)
		refuse(w, r, httpStatus(s.Code()), s.Code(), s.Message())
	}
}
