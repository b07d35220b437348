package control

import (
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

// merge puts those of the named fields of a request that its mask names into a resource, which has fields of the same names.
// Without a mask these are all.
func merge(mask *fieldmaskpb.FieldMask, request, into proto.Message, names ...string) error {
	from, to := request.ProtoReflect(), into.ProtoReflect()
	wanted := mask.GetPaths()
	if len(wanted) == 0 {
		wanted = names
	}
	for _, name := range wanted {
		if !slices.Contains(names, name) {
			return invalid(wrong("update_mask", "names %.64q, which cannot be changed: name any of %v", name, names))
		}
		source := from.Descriptor().Fields().ByName(protoreflect.Name(name))
		target := to.Descriptor().Fields().ByName(protoreflect.Name(name))
		if !from.Has(source) {
			to.Clear(target)
			continue
		}
		if !source.IsMap() {
			to.Set(target, from.Get(source))
			continue
		}
		to.Clear(target)
		from.Get(source).Map().Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
			to.Mutable(target).Map().Set(key, value)
			return true
		})
	}
	return nil
}
