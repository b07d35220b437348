package permanent_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/plugins/internal/permanent"
)

func TestIs(t *testing.T) {
	forGood, forNow := permanent.Error(errors.New("too large")), errors.New("not now")
	batch := service.MessageBatch{service.NewMessage(nil), service.NewMessage(nil), service.NewMessage(nil)}
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"permanent":          {forGood, true},
		"other":              {forNow, false},
		"wrapped":            {fmt.Errorf("rejecting: %w", forGood), true},
		"one of a batch":     {service.NewBatchError(batch, forGood).Failed(1, forGood), true},
		"batch as a whole":   {service.NewBatchError(batch, forGood), true},
		"other as a whole":   {service.NewBatchError(batch, forNow), false},
		"both, other first":  {service.NewBatchError(batch, forNow).Failed(0, forNow).Failed(2, forGood), false},
		"both, other second": {service.NewBatchError(batch, forGood).Failed(0, forGood).Failed(2, forNow), false},
		"wrapped batch":      {fmt.Errorf("sending: %w", service.NewBatchError(batch, forGood).Failed(1, forGood)), true},
	} {
		if got := permanent.Is(test.err); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
