package iotmqtt

import (
	"context"
	"time"
)

// refusals keep a client whose login is refused from trying it each second: that fills the log, and is what a broker that counts
// tries locks clients out for.
type refusals struct {
	row int // one after the other
}

// lastRefusalRespite is short: logins may be refused for a while, such as by a broker that starts before what knows its users.
const lastRefusalRespite = 10 * time.Second

// wait holds the next connection up if the login of the last one was refused.
func (r *refusals) wait(ctx context.Context, refused bool) error {
	if !refused {
		r.row = 0
		return nil
	}
	r.row++
	return respite(ctx, r.row-1, lastRefusalRespite)
}
