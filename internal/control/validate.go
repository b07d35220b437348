package control

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/yandex-cloud/go-genproto/yandex/cloud"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
)

// validated is a grpc.UnaryServerInterceptor that refuses requests which the options of their own types refuse.
func validated(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if message, ok := req.(proto.Message); ok {
		v := validator{}
		v.message("", message.ProtoReflect())
		if len(v.violations) > 0 {
			return nil, invalid(v.violations...)
		}
	}
	return handler(ctx, req)
}

// violation is what is wrong with a field.
type violation = errdetails.BadRequest_FieldViolation

// wrong says what is wrong with a field, and what to do.
func wrong(field, format string, args ...any) *violation {
	return &violation{Field: field, Description: fmt.Sprintf(format, args...)}
}

// invalid is the error about fields, with the details of google.rpc.BadRequest.
func invalid(all ...*violation) error {
	texts := make([]string, len(all))
	for i, v := range all {
		texts[i] = v.Field + " " + v.Description
	}
	s := status.New(codes.InvalidArgument, strings.Join(texts, "; "))
	if detailed, err := s.WithDetails(&errdetails.BadRequest{FieldViolations: all}); err == nil {
		s = detailed
	}
	return s.Err()
}

// lenient are fields of which the options ask more than is needed here: a folder and a service account have a meaning of
// their own in the original only, what is not said of a batch has a default, a fingerprint is one of SHA-256, and a
// page token, which is ours, may be longer.
func lenient(field protoreflect.Name) bool {
	switch field {
	case "folder_id", "service_account_id", "cutoff", "fingerprint", "page_token":
		return true
	}
	return false
}

// Required tells whether a field must be there.
func Required(f protoreflect.FieldDescriptor) bool { return rulesOf(f).required && !lenient(f.Name()) }

// configured are fields whose length is for the configuration to bound: by max_message_bytes.
func configured(field protoreflect.FullName) bool {
	return field == "yandex.cloud.serverless.apigateway.websocket.v1.SendToConnectionRequest.data"
}

// maxViolations is how many of them an answer has.
const maxViolations = 10

type validator struct{ violations []*violation }

func (v *validator) add(path, format string, args ...any) {
	if len(v.violations) < maxViolations {
		v.violations = append(v.violations, wrong(path, format, args...))
	}
}

// message looks at all fields of a message, by their paths.
func (v *validator) message(path string, m protoreflect.Message) {
	oneofs := m.Descriptor().Oneofs()
	for i := range oneofs.Len() {
		one := oneofs.Get(i)
		if needed, _ := proto.GetExtension(one.Options(), cloud.E_ExactlyOne).(bool); needed && m.WhichOneof(one) == nil {
			v.add(join(path, string(one.Name())), "is missing: give one of %s", namesOf(one.Fields()))
		}
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		v.field(join(path, string(fields.Get(i).Name())), m, fields.Get(i))
	}
}

func namesOf(fields protoreflect.FieldDescriptors) string {
	names := make([]string, fields.Len())
	for i := range names {
		names[i] = string(fields.Get(i).Name())
	}
	return strings.Join(names, ", ")
}

func join(path, name string) string { return strings.TrimPrefix(path+"."+name, ".") }

func (v *validator) field(path string, m protoreflect.Message, f protoreflect.FieldDescriptor) {
	rules := rulesOf(f)
	value := m.Get(f)
	if !m.Has(f) {
		if Required(f) {
			v.add(path, "is missing")
		}
		if f.IsMap() || f.IsList() || f.HasPresence() {
			return
		}
		if f.Kind() == protoreflect.StringKind && value.String() == "" { // what is not there is not too short
			return
		}
	}
	switch {
	case f.IsMap():
		v.size(path, value.Map().Len(), rules)
		value.Map().Range(func(key protoreflect.MapKey, item protoreflect.Value) bool {
			at := fmt.Sprintf("%s[%.64q]", path, key.String())
			v.text(at+" (the key)", key.String(), rules.key, rules.keyLength)
			if f.MapValue().Kind() == protoreflect.StringKind {
				v.text(at, item.String(), rules.pattern, rules.length)
			}
			return true
		})
	case f.IsList():
		v.size(path, value.List().Len(), rules)
		for i := range value.List().Len() {
			at := fmt.Sprintf("%s[%d]", path, i)
			v.one(at, f, value.List().Get(i), rules)
		}
	default:
		v.one(path, f, value, rules)
	}
}

// lengthOf bounds a text, also one of which its options say nothing.
func lengthOf(f protoreflect.FieldDescriptor, r rules) bounds {
	switch {
	case f.Name() == "certificate_data":
		return bounds{text: "<=32768", max: 32 << 10}
	case r.length.text == "", f.Name() == "fingerprint", f.Name() == "page_token":
		return bounds{text: "<=1024", max: 1024}
	}
	return r.length
}

func (v *validator) one(path string, f protoreflect.FieldDescriptor, value protoreflect.Value, rules rules) {
	switch f.Kind() {
	case protoreflect.StringKind:
		v.text(path, value.String(), rules.pattern, lengthOf(f, rules))
	case protoreflect.BytesKind:
		if n := len(value.Bytes()); !configured(f.FullName()) && !rules.length.hold(float64(n)) {
			v.add(path, "has %d bytes, and may have %s", n, rules.length.text)
		}
	case protoreflect.Int64Kind, protoreflect.Int32Kind:
		if !rules.value.hold(float64(value.Int())) {
			v.add(path, "is %d, and may be %s", value.Int(), rules.value.text)
		}
	case protoreflect.MessageKind:
		if d, ok := value.Message().Interface().(*durationpb.Duration); ok {
			if !rules.value.hold(d.AsDuration().Seconds()) {
				v.add(path, "is %v, and may be %s", d.AsDuration(), rules.value.text)
			}
			return
		}
		v.message(path, value.Message())
	}
}

func (v *validator) text(path, text string, pattern *regexp.Regexp, length bounds) {
	if n := utf8.RuneCountInString(text); !length.hold(float64(n)) {
		v.add(path, "has %d characters, and may have %s", n, length.text)
	}
	if pattern != nil && !pattern.MatchString(text) {
		v.add(path, "is %.64q, and must have the form %s", text, strings.TrimSuffix(strings.TrimPrefix(pattern.String(), "^(?:"), ")$"))
	}
}

func (v *validator) size(path string, n int, rules rules) {
	if !rules.size.hold(float64(n)) {
		v.add(path, "are %d, and may be %s", n, rules.size.text)
	}
}

// rules are the options of a field.
type rules struct {
	required          bool
	pattern, key      *regexp.Regexp
	length, keyLength bounds // of texts, in characters, and of bytes
	size, value       bounds // of lists and maps; of numbers, and of durations in seconds
}

var known sync.Map // by full name of the field: its rules

func rulesOf(f protoreflect.FieldDescriptor) rules {
	if r, ok := known.Load(f.FullName()); ok {
		return r.(rules)
	}
	o := f.Options()
	r := rules{
		required: proto.GetExtension(o, cloud.E_Required).(bool),
		pattern:  patternOf(proto.GetExtension(o, cloud.E_Pattern).(string)),
		length:   boundsOf(proto.GetExtension(o, cloud.E_Length).(string)),
		size:     boundsOf(proto.GetExtension(o, cloud.E_Size).(string)),
		value:    boundsOf(proto.GetExtension(o, cloud.E_Value).(string)),
	}
	if key := proto.GetExtension(o, cloud.E_MapKey).(*cloud.MapKeySpec); key != nil {
		r.key, r.keyLength = patternOf(key.GetPattern()), boundsOf(key.GetLength())
	}
	known.Store(f.FullName(), r)
	return r
}

// patternOf is nil for no pattern, and for one that is none.
func patternOf(text string) *regexp.Regexp {
	if text == "" {
		return nil
	}
	pattern, err := regexp.Compile("^(?:" + text + ")$")
	if err != nil {
		return nil
	}
	return pattern
}

// bounds are what options say as <=50, >=14, >0, 3-63 or 1s-1m.
type bounds struct {
	text     string
	min, max float64
	above    bool // min itself is too little
}

func boundsOf(text string) bounds {
	b := bounds{text: text, max: -1}
	switch {
	case strings.HasPrefix(text, "<="):
		b.max = number(text[2:])
	case strings.HasPrefix(text, ">="):
		b.min = number(text[2:])
	case strings.HasPrefix(text, ">"):
		b.min, b.above = number(text[1:]), true
	default:
		low, high, ok := strings.Cut(text, "-")
		b.min, b.max = number(low), number(high)
		if !ok {
			b.max = b.min
		}
	}
	return b
}

func number(text string) float64 {
	if d, err := time.ParseDuration(text); err == nil {
		return d.Seconds()
	}
	n, _ := strconv.ParseFloat(text, 64)
	return n
}

// hold tells whether n is within the bounds. No bounds hold for all.
func (b bounds) hold(n float64) bool {
	switch {
	case b.text == "":
		return true
	case n < b.min, b.above && n == b.min:
		return false
	}
	return b.max < 0 || n <= b.max
}
