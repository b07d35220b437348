package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"

	triggers "github.com/yandex-cloud/go-genproto/yandex/cloud/serverless/triggers/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/iotcore"
	"github.com/iotcast/iotcast/internal/state"
	"github.com/iotcast/iotcast/internal/streamsapi"
	stream "github.com/iotcast/iotcast/internal/triggers"
)

// checkTriggerMethod tells what would come of a trigger. It asks for roles itself, as its body says which trigger it is about.
const checkTriggerMethod = "/iotcast.TriggerService/Check"

// checkRoutes are over HTTP alone.
func checkRoutes(k *keeper, cfg Config) []plainRoute {
	c := triggerCheck{triggerService{k: k}, cfg.MaskStream}
	return []plainRoute{plainRouteTo(http.MethodPost, "/triggers/v1/triggers:check", true, checkTriggerMethod, c.check)}
}

// triggerCheck looks at a trigger as Create and Update do, and changes nothing.
type triggerCheck struct {
	triggerService
	mask func([]byte) ([]byte, error) // nil: no stream is shown
}

// problem is what is wrong with a field.
type problem struct {
	Field       string `json:"field"`
	Description string `json:"description"`
}

// problems are those of a trigger, each once.
type problems []problem

func (all *problems) add(field, description string) {
	for _, one := range *all {
		if one.Field == field && one.Description == description {
			return
		}
	}
	*all = append(*all, problem{field, description})
}

func (all *problems) addViolations(violations []*violation) {
	for _, v := range violations {
		all.add(v.Field, v.Description)
	}
}

// addError adds what an error says is wrong. It returns the error if it is about something else.
func (all *problems) addError(field string, err error) error {
	s := status.Convert(err)
	switch s.Code() {
	case codes.OK:
		return nil
	case codes.InvalidArgument:
		for _, detail := range s.Details() {
			if bad, ok := detail.(interface{ GetFieldViolations() []*violation }); ok {
				all.addViolations(bad.GetFieldViolations())
				return nil
			}
		}
	case codes.NotFound, codes.AlreadyExists, codes.Unimplemented, codes.FailedPrecondition:
	default:
		return err
	}
	all.add(field, strings.TrimPrefix(s.Message(), field[:max(strings.LastIndexByte(field, '.'), 0)]+": "))
	return nil
}

func (c triggerCheck) check(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	request, id, err := readTrigger(r)
	if err != nil {
		return err
	}
	this := callOf(ctx)
	var concerned []string
	if id != "" {
		this.ids["trigger_id"], concerned = id, []string{id}
	}
	if !this.may(access.EditorOfAll, concerned...) {
		return denied(this.account, access.EditorOfAll, concerned...)
	}
	if err := c.k.streams.available(); err != nil {
		return err
	}
	found := problems{}
	v := validator{}
	v.message("", request.ProtoReflect())
	found.addViolations(v.violations)
	old, now, err := c.entriesOf(request, id)
	if id != "" && old == nil {
		return err
	}
	if err := found.addError("update_mask", err); err != nil {
		return err
	}
	answer := struct {
		YAML     string   `json:"yaml"` // empty: no stream can be made
		Problems problems `json:"problems"`
	}{}
	if now != nil {
		if answer.YAML, err = c.look(ctx, old, now, &found); err != nil {
			return err
		}
	}
	answer.Problems = found
	return answerJSON(w, answer)
}

// readTrigger reads a body, as of Create, or, with a trigger ID, as of Update.
func readTrigger(r *http.Request) (request proto.Message, id string, err error) {
	const most = 1 << 20
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, most))
	if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
		return nil, "", status.Error(codes.InvalidArgument, tooLarge(most))
	}
	var named struct {
		TriggerID  *string `json:"triggerId"`
		AlsoCalled *string `json:"trigger_id"`
	}
	if err == nil {
		err = json.Unmarshal(body, &named)
	}
	if err != nil {
		return nil, "", status.Errorf(codes.InvalidArgument, "the body is not the JSON that it must be: %v", err)
	}
	request = new(triggers.CreateTriggerRequest)
	if named.TriggerID != nil || named.AlsoCalled != nil {
		request = new(triggers.UpdateTriggerRequest)
	}
	if err := protojson.Unmarshal(body, request); err != nil {
		return nil, "", status.Error(codes.InvalidArgument, misread(err))
	}
	if update, ok := request.(*triggers.UpdateTriggerRequest); ok {
		if id = update.TriggerId; id == "" {
			return nil, "", invalid(wrong("trigger_id", "is missing"))
		}
	}
	return request, id, nil
}

// entriesOf are the trigger before, if there is one, and as it would be.
func (c triggerCheck) entriesOf(request proto.Message, id string) (old, now *entry[*triggers.Trigger], err error) {
	if create, ok := request.(*triggers.CreateTriggerRequest); ok {
		id := create.Name
		if iotcore.ValidateID("name", id) == nil { // of another name no ID can be made
			var end func()
			id, end = c.k.triggers.choose(id)
			end()
		}
		return nil, &entry[*triggers.Trigger]{resource: &triggers.Trigger{
			Id: id, Name: create.Name, Description: create.Description, Labels: create.Labels, Rule: create.Rule,
			Status: triggers.Trigger_ACTIVE,
		}}, nil
	}
	update := request.(*triggers.UpdateTriggerRequest)
	if old, err = c.k.triggers.get(id); err != nil {
		return nil, nil, err
	}
	now = &entry[*triggers.Trigger]{resource: clone(old.resource), private: old.private}
	if err := merge(update.UpdateMask, update, now.resource, "name", "description", "labels", "rule"); err != nil {
		return old, nil, err
	}
	return old, now, nil
}

// look finds what else is wrong with a trigger, and returns its stream.
func (c triggerCheck) look(ctx context.Context, old, now *entry[*triggers.Trigger], found *problems) (yaml string, err error) {
	var before *triggers.Trigger_Rule
	if old != nil {
		before = old.resource.Rule
	}
	in := ruleField(now.resource.Rule)
	if err := found.addError(in+"."+source(now.resource.Rule), c.checkUse(ctx, before, now.resource.Rule)); err != nil {
		return "", err
	}
	err = completeTrigger(old, now)
	if status.Code(err) == codes.InvalidArgument && len(status.Convert(err).Details()) == 0 && len(*found) > 0 {
		return "", nil // there is no rule, which the options of the types say, too
	}
	unnamed := slices.ContainsFunc(*found, func(one problem) bool { return one.Field == "name" })
	if err := found.addError("rule", err); err != nil {
		return "", err
	}
	if unnamed { // the ID is the name
		*found = slices.DeleteFunc(*found, func(one problem) bool { return one.Field == "id" })
	}
	err = c.k.state.Read(func(tx *state.Tx) error { return c.k.triggers.nameIsFree(tx, now.resource.Id, "", now) })
	if err := found.addError("name", err); err != nil {
		return "", err
	}
	if _, err := stream.RuleOf(now.resource.Rule); err != nil {
		return "", nil // it was found above
	}
	config, err := c.k.streams.maker.Stream(now.resource, now.private.Unsubscribe)
	if err != nil {
		return "", err
	}
	harmless := []string{"name", in + "." + source(now.resource.Rule)} // which do not keep a stream from being checked
	if !slices.ContainsFunc(*found, func(one problem) bool { return !slices.Contains(harmless, one.Field) }) {
		if err := found.addRefusal(in, c.k.streams.streams.Check(ctx, config)); err != nil {
			return "", err
		}
	}
	if c.mask == nil {
		return "", nil
	}
	shown, err := c.mask(config)
	return string(shown), err
}

// ruleField is the path of the rule that is set.
func ruleField(rule *triggers.Trigger_Rule) string {
	if r, err := stream.RuleOf(rule); err == nil {
		return r.Path
	}
	return "rule"
}

// source is the field that names what a rule listens to.
func source(rule *triggers.Trigger_Rule) string {
	if r, err := stream.RuleOf(rule); err == nil && r.Source == iotcore.Broker {
		return "broker_id"
	}
	return "registry_id"
}

// nowhere is how a stream is refused whose gateway has no such path, and how one is whose gateway there is not.
var nowhere = regexp.MustCompile(`(path|gateway) "[^"]*" does not exist[^\n]*`)

// addRefusal adds why a stream is refused.
func (all *problems) addRefusal(in string, err error) error {
	var lints *streamsapi.LintError
	var refused *streamsapi.RefusedError
	switch {
	case errors.As(err, &lints):
		for _, lint := range lints.Lints {
			all.add("rule", "makes a stream that is refused: "+lint)
		}
		return nil
	case !errors.As(err, &refused):
		return err
	}
	text := refused.Error()
	if match := nowhere.FindStringSubmatch(text); match != nil {
		field := map[string]string{"path": "path", "gateway": "gateway_id"}[match[1]]
		all.add(in+".gateway_websocket_broadcast."+field, match[0])
		return nil
	}
	all.add("rule", "makes a stream that is refused: "+text)
	return nil
}
