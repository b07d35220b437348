package control

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/operation"
	triggers "github.com/yandex-cloud/go-genproto/yandex/cloud/serverless/triggers/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/iotcore"
	"github.com/iotcast/iotcast/internal/registry"
	"github.com/iotcast/iotcast/internal/state"
	"github.com/iotcast/iotcast/internal/streamsapi"
	stream "github.com/iotcast/iotcast/internal/triggers"
)

// triggerService is yandex.cloud.serverless.triggers.v1.TriggerService.
type triggerService struct {
	triggers.UnimplementedTriggerServiceServer
	k *keeper
}

func (s triggerService) Get(ctx context.Context, r *triggers.GetTriggerRequest) (*triggers.Trigger, error) {
	if err := s.k.streams.available(); err != nil {
		return nil, err
	}
	return shown(ctx, s.k.triggers, r.TriggerId)
}

// byName is the only filter that there is.
var byName = regexp.MustCompile(`^\s*name\s*=\s*"([^"]*)"\s*$`)

func (s triggerService) List(_ context.Context, r *triggers.ListTriggersRequest) (*triggers.ListTriggersResponse, error) {
	if err := s.k.streams.available(); err != nil {
		return nil, err
	}
	name := ""
	if r.Filter != "" {
		found := byName.FindStringSubmatch(r.Filter)
		if found == nil {
			return nil, invalid(wrong("filter", `is %.64q, and may be name="my-trigger"`, r.Filter))
		}
		name = found[1]
	}
	p, err := pageOf("triggers "+r.FolderId+" "+name, r.PageSize, r.PageToken)
	if err != nil {
		return nil, err
	}
	all, next, err := s.k.triggers.list("", p, func(_ *state.Tx, one *triggers.Trigger) bool {
		return (r.FolderId == "" || r.FolderId == one.FolderId) && (r.Filter == "" || name == one.Name)
	})
	return &triggers.ListTriggersResponse{Triggers: all, NextPageToken: next}, err
}

func (s triggerService) Create(ctx context.Context, r *triggers.CreateTriggerRequest) (*operation.Operation, error) {
	if err := s.k.streams.available(); err != nil {
		return nil, err
	}
	if err := s.checkUse(ctx, nil, r.Rule); err != nil {
		return nil, err
	}
	id, end := s.k.triggers.choose(r.Name)
	defer end()
	op, err := s.k.triggers.create(ctx, &entry[*triggers.Trigger]{resource: &triggers.Trigger{
		Id: id, FolderId: r.FolderId, CreatedAt: now(), Name: r.Name, Description: r.Description, Labels: r.Labels,
		Rule: r.Rule, Status: triggers.Trigger_ACTIVE,
	}})
	if err == nil {
		s.k.streams.await(ctx, id)
	}
	return op, err
}

func (s triggerService) Update(ctx context.Context, r *triggers.UpdateTriggerRequest) (*operation.Operation, error) {
	return s.update(ctx, r.TriggerId, func(e *entry[*triggers.Trigger]) error {
		old := e.resource.Rule
		if err := merge(r.UpdateMask, r, e.resource, "name", "description", "labels", "rule"); err != nil {
			return err
		}
		return s.checkUse(ctx, old, e.resource.Rule)
	})
}

func (s triggerService) Pause(ctx context.Context, r *triggers.PauseTriggerRequest) (*operation.Operation, error) {
	return s.setStatus(ctx, r.TriggerId, triggers.Trigger_PAUSED)
}

func (s triggerService) Resume(ctx context.Context, r *triggers.ResumeTriggerRequest) (*operation.Operation, error) {
	return s.setStatus(ctx, r.TriggerId, triggers.Trigger_ACTIVE)
}

func (s triggerService) setStatus(ctx context.Context, id string, to triggers.Trigger_Status) (*operation.Operation, error) {
	return s.update(ctx, id, func(e *entry[*triggers.Trigger]) error {
		e.resource.Status = to
		return nil
	})
}

// update changes a trigger. Where that starts it, the answer comes when it is connected, or does not seem to become so.
func (s triggerService) update(ctx context.Context, id string, change func(*entry[*triggers.Trigger]) error) (*operation.Operation, error) {
	if err := s.k.streams.available(); err != nil {
		return nil, err
	}
	starts := false
	op, err := s.k.triggers.update(ctx, id, func(e *entry[*triggers.Trigger]) (proto.Message, error) {
		before := clone(e.resource)
		err := change(e)
		starts = e.resource.Status == triggers.Trigger_ACTIVE &&
			(before.Status != e.resource.Status || !proto.Equal(before.Rule, e.resource.Rule))
		return e.resource, err
	})
	if err == nil && starts {
		s.k.streams.await(ctx, id)
	}
	return op, err
}

func (s triggerService) Delete(ctx context.Context, r *triggers.DeleteTriggerRequest) (*operation.Operation, error) {
	if err := s.k.streams.available(); err != nil {
		return nil, err
	}
	return s.k.triggers.delete(ctx, r.TriggerId)
}

func (s triggerService) ListOperations(
	ctx context.Context, r *triggers.ListTriggerOperationsRequest,
) (*triggers.ListTriggerOperationsResponse, error) {
	if err := s.k.streams.available(); err != nil {
		return nil, err
	}
	all, next, err := operationsOf(ctx, s.k.triggers, r.TriggerId, r.PageSize, r.PageToken, r.Filter)
	return &triggers.ListTriggerOperationsResponse{Operations: all, NextPageToken: next}, err
}

const maxCutoff = time.Minute

// triggerID is an ID that is a stream's, too. It has no underscore, which the IDs of other streams of this process have.
var triggerID = regexp.MustCompile(`^[A-Za-z0-9][-A-Za-z0-9]{0,62}$`)

// completeTrigger is the complete of the kind: it refuses what the options of the types do not.
func completeTrigger(old, now *entry[*triggers.Trigger]) error {
	if now.resource.Status == triggers.Trigger_STATUS_UNSPECIFIED {
		now.resource.Status = triggers.Trigger_ACTIVE
	}
	stream.Complete(now.resource.Rule)
	r, err := stream.RuleOf(now.resource.Rule)
	switch {
	case errors.Is(err, stream.ErrUnknown):
		return status.Error(codes.Unimplemented, err.Error())
	case err != nil:
		return status.Error(codes.InvalidArgument, err.Error())
	}
	all := violationsOf(r)
	if id := now.resource.Id; !triggerID.MatchString(id) || streamsapi.Reserved(id) {
		all = append(all, wrong("id", "is %.64q, and may have 1 to 63 letters, digits and hyphens: it is the ID of a stream", id))
	}
	if len(all) > 0 {
		return invalid(all...)
	}
	if old != nil {
		before, err := stream.RuleOf(old.resource.Rule)
		if err != nil {
			return err
		}
		now.private.Unsubscribe = stream.Gone(before, r, old.private.Unsubscribe)
	}
	return nil
}

// violationsOf is what is wrong with a rule beside what its types say.
func violationsOf(r stream.Rule) (all []*violation) {
	add := func(field string, err error) {
		if err != nil {
			all = append(all, wrong(r.Path+"."+field, "is not possible: %v", err))
		}
	}
	if r.Source == iotcore.Device {
		add("registry_id", iotcore.ValidateID("registry_id", r.RegistryID))
	} else {
		add("broker_id", iotcore.ValidateID("broker_id", r.BrokerID))
	}
	if r.DeviceID != "" {
		add("device_id", iotcore.ValidateID("device_id", r.DeviceID))
	}
	if r.Topic != "" {
		add("mqtt_topic", iotcore.ValidateFilter(r.Source, r.Topic))
	}
	if cutoff := r.Batch.Cutoff; cutoff.CheckValid() != nil || cutoff.AsDuration() < 0 || cutoff.AsDuration() > maxCutoff {
		add("batch_settings.cutoff", fmt.Errorf("give 0s to %gs", maxCutoff.Seconds()))
	}
	for _, one := range []struct{ field, text string }{
		{"mqtt_topic", r.Topic},
		{"gateway_websocket_broadcast.gateway_id", r.Action.GatewayId},
		{"gateway_websocket_broadcast.path", r.Action.Path},
		{"gateway_websocket_broadcast.service_account_id", r.Action.ServiceAccountId},
	} {
		if strings.Contains(one.text, "${") {
			add(one.field, fmt.Errorf("%q holds ${, which a stream takes for an environment variable: remove it", one.text))
		}
	}
	return all
}

// checkUse fails unless a rule listens to somebody who is there, and the caller may see what it listens to and may act as its
// service account, which is asked for whenever the rule changes: what the account sends, and where to, is by its leave. Old is
// the rule before, if there is one. A rule that cannot be is refused later.
func (s triggerService) checkUse(ctx context.Context, old, now *triggers.Trigger_Rule) error {
	stream.Complete(now)
	r, err := stream.RuleOf(now)
	if err != nil || len(violationsOf(r)) > 0 {
		return nil
	}
	before := stream.Rule{Action: new(triggers.GatewayWebsocketBroadcast)}
	if old = clone(old); old != nil {
		stream.Complete(old)
	}
	if was, err := stream.RuleOf(old); err == nil {
		before = was
	}
	this := callOf(ctx)
	if source := r.User(); source != before.User() || r.Source != before.Source {
		if !this.may(access.ViewerOfAll, source) {
			return denied(this.account, access.ViewerOfAll, source)
		}
		if s.k.streams.maker.Here() && !s.k.isThere(r) {
			return status.Errorf(codes.NotFound, "%s: there is no such registry or broker: make it first, as the trigger is to log in as %.64q", r.Path, source)
		}
	}
	if account := r.Action.ServiceAccountId; account != "" && !proto.Equal(old, now) && !this.may(access.ServiceAccountsUser, account) {
		return denied(this.account, access.ServiceAccountsUser, account)
	}
	return nil
}

// isThere reports whether the directory has whom a rule listens to.
func (k *keeper) isThere(r stream.Rule) bool {
	p, ok := k.directory.Principal(r.User())
	if r.Source == iotcore.Broker {
		return ok && p.Role == registry.BrokerRole
	}
	return ok && p.Role == registry.RegistryRole
}
