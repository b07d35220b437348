package control

import (
	"cmp"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Route is a way to a method over REST.
type Route struct {
	Verb   string // of HTTP
	Path   string // as in google.api.http: fields of the request are in braces
	Body   bool   // the rest of the request is in the body, or else in the query
	Method string // /package.Service/Method

	pattern *regexp.Regexp
}

// ManagementRoutes are those of the management API.
func ManagementRoutes() []Route {
	s := grpc.NewServer()
	register(s, nil, Config{})
	return routesOf(s, plainRoutes(nil, Config{}))
}

// ConnectionRoutes are those of connection_api.
func ConnectionRoutes() []Route {
	s := grpc.NewServer()
	registerConnections(s, connectionService{})
	return routesOf(s, connectionService{}.extensions())
}

// routesOf are those of the services of a server, and plain ones, in the order of their paths.
func routesOf(s *grpc.Server, plain []plainRoute) (all []Route) {
	for _, one := range plain {
		all = append(all, one.Route)
	}
	for name := range s.GetServiceInfo() {
		found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
		if err != nil {
			continue
		}
		methods := found.(protoreflect.ServiceDescriptor).Methods()
		for i := range methods.Len() {
			rule, _ := proto.GetExtension(methods.Get(i).Options(), annotations.E_Http).(*annotations.HttpRule)
			if rule == nil {
				continue
			}
			for _, one := range append([]*annotations.HttpRule{rule}, rule.AdditionalBindings...) {
				all = append(all, routeOf(one, "/"+name+"/"+string(methods.Get(i).Name())))
			}
		}
	}
	slices.SortFunc(all, func(a, b Route) int { return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Verb, b.Verb)) })
	return all
}

func routeOf(rule *annotations.HttpRule, method string) Route {
	r := Route{Method: method, Body: rule.Body != ""}
	switch p := rule.Pattern.(type) {
	case *annotations.HttpRule_Get:
		r.Verb, r.Path = http.MethodGet, p.Get
	case *annotations.HttpRule_Put:
		r.Verb, r.Path = http.MethodPut, p.Put
	case *annotations.HttpRule_Post:
		r.Verb, r.Path = http.MethodPost, p.Post
	case *annotations.HttpRule_Delete:
		r.Verb, r.Path = http.MethodDelete, p.Delete
	case *annotations.HttpRule_Patch:
		r.Verb, r.Path = http.MethodPatch, p.Patch
	}
	r.pattern = patternOfPath(r.Path, "[^/:]+")
	return r
}

var inBraces = regexp.MustCompile(`\\\{(.*?)\\\}`)

// patternOfPath matches paths as they are written, with the values of fields, which are of the form.
func patternOfPath(path, field string) *regexp.Regexp {
	return regexp.MustCompile("^" + inBraces.ReplaceAllString(regexp.QuoteMeta(path), "(?P<$1>"+field+")") + "$")
}

// routeTo finds that of a request, nil if there is none.
func routeTo(all []Route, verb, path string) *Route {
	for i := range all {
		if all[i].Verb == verb && all[i].pattern.MatchString(path) {
			return &all[i]
		}
	}
	return nil
}
