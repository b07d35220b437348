package iotmqtt

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/lease"
	"github.com/iotcast/iotcast/plugins/internal/duration"
	"github.com/iotcast/iotcast/plugins/internal/natsconfig"
)

const (
	fieldLeases        = "leases"
	fieldLeaseParts    = "parts"
	fieldLeaseDuration = "duration"
	fieldLeaseBucket   = "bucket"
	fieldLeaseReplicas = "replicas"
)

// leasesField is how several processes divide the messages, and come and go.
func leasesField() *service.ConfigField {
	fields := []*service.ConfigField{
		service.NewIntField(fieldLeaseParts).
			Description("Into how many parts the messages are divided, the same for all processes; 0 for no leases. Every part costs the broker a session that gets all messages (see `docs/cluster.md`): take two or three times the number of processes that you will have at most.").
			Default(0).
			Example(12).
			LintRule(`root = if this.type() == "number" && (this < 0 || this > 1000) { [ "` + errLeaseParts + `" ] }`),
		duration.Field(fieldLeaseDuration).
			Description("How long a process that is gone without a word keeps its parts, before others take them over, and how long one goes on that cannot reach NATS. At least 3s; the same for all processes.").
			Default("10s").
			Example("5s").
			LintRule(fieldLint(fieldLeases + "." + fieldLeaseDuration)),
		service.NewStringField(fieldLeaseBucket).
			Description("The key-value bucket of NATS JetStream that holds the leases. It is made if there is none. Processes with the same bucket and the same `client_id` share the messages; others do not notice each other.").
			Default("iotcast-leases").
			Example("greenhouse-leases").
			LintRule(`root = if this.type() == "string" && !this.re_match("` + bucketName.String() + `") { [ "` + errLeaseBucket + `" ] }`),
		service.NewIntField(fieldLeaseReplicas).
			Description("On how many servers NATS keeps the bucket, if it has to be made: 3 in a cluster.").
			Default(1).
			Example(3).
			LintRule(`root = if this.type() == "number" && (this < 1 || this > 5) { [ "` + errLeaseReplicas + `" ] }`).
			Advanced(),
	}
	return service.NewObjectField(fieldLeases, append(fields, natsFields()...)...).
		Description("Takes parts of the messages by leases, where processes that divide them come and go: any number of processes with the same `client_id`, each of which holds a fair share of the parts. The broker has a session for each part, with the client ID `<client_id>-<part>`, so nothing is lost and the order of a device is kept, whoever holds it. Needs `clean_session: false`, a `client_id`, and `qos` 1 or 2. `max_unacked`, `batching` and `strict_order` count for each part by itself.").
		Example(map[string]any{"parts": 12, "urls": []any{"nats://localhost:4222"}}).
		Advanced()
}

func natsFields() []*service.ConfigField {
	servers := natsconfig.Servers().Default([]any{"nats://localhost:4222"}) // or else everyone would need leases
	return append([]*service.ConfigField{servers}, natsconfig.Security()...)
}

var bucketName = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

const (
	errLeaseParts    = "leases.parts must be at least 0, which means no leases, and at most 1000"
	errLeaseBucket   = "leases.bucket must be made of letters, digits, - and _"
	errLeaseReplicas = "leases.replicas must be 1 to 5"
	errLeaseSession  = "leases.parts needs clean_session: false and a client_id: the sessions on the broker keep the messages of a part while it changes hands"
	errLeaseQoS      = "leases.parts needs qos 1 or 2: of QoS 0 the broker keeps nothing while a part changes hands"
	errLeaseShares   = "leases.parts and partition.count or share_group (or a topic that begins with $share/) are both set: keep one way to share"
)

// leases is the field, parsed; no parts mean that there are none.
type leases struct {
	parts    int
	duration time.Duration
	bucket   lease.BucketConfig
}

func parseLeases(conf *service.ParsedConfig) (l leases, err error) {
	get := getter{conf: conf.Namespace(fieldLeases)}
	l.parts = get.int(fieldLeaseParts)
	l.duration = get.duration(fieldLeaseDuration)
	l.bucket.Bucket = get.string(fieldLeaseBucket)
	l.bucket.Replicas = get.int(fieldLeaseReplicas)
	if get.err != nil || l.parts == 0 {
		return l, get.err
	}
	switch {
	case l.parts < 0 || l.parts > 1000:
		return l, errors.New(errLeaseParts)
	case !bucketName.MatchString(l.bucket.Bucket):
		return l, errors.New(errLeaseBucket)
	case l.bucket.Replicas < 1 || l.bucket.Replicas > 5:
		return l, errors.New(errLeaseReplicas)
	}
	if err := checkDuration(fieldLeases+"."+fieldLeaseDuration, l.duration); err != nil {
		return l, err
	}
	c, err := natsconfig.Parse(get.conf, "iotcast leases")
	if err != nil {
		return l, fmt.Errorf("%s.%w", fieldLeases, err)
	}
	l.bucket.Connect = c.Open
	return l, nil
}

// checkLeases is for what the other fields say.
func (c *config) checkLeases(qos int) error {
	switch {
	case c.leases.parts == 0:
	case c.session.CleanSession || c.session.ClientID == "":
		return errors.New(errLeaseSession)
	case qos == 0:
		return errors.New(errLeaseQoS)
	case c.sharing.count > 1 || c.sharing.group != "" || len(doubtful(c.session.Filters)) > 0:
		return errors.New(errLeaseShares)
	}
	return nil
}

// part is the configuration of the input of one part.
func (c config) part(index int) config {
	c.session.ClientID += "-" + strconv.Itoa(index)
	c.sharing = sharing{index: index, count: c.leases.parts}
	return c
}

// memberName is unique, and tells people where to look.
func memberName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "iotcast"
	}
	return host + "-" + uuid.NewString()[:8]
}
