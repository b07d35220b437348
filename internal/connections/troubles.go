package connections

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// troubles are what the log has been told of other nodes. It is told once, and not with
// each request, of which anyone who may call can make as many as they like.
type troubles struct {
	log *slog.Logger

	mu    sync.Mutex
	told  map[trouble]struct{}
	rate  *rate.Limiter
	asked map[string]time.Time // when a node did not answer, and has not answered since
}

// trouble is a node that does not answer, or, with a method and a status, one that
// refuses what it is asked.
type trouble struct {
	node, method string
	status       int
}

// maxTroubles bounds what is remembered: where the nodes are not configured, callers
// make up names.
const maxTroubles = 100

func newTroubles(log *slog.Logger) *troubles {
	return &troubles{
		log: log, told: make(map[trouble]struct{}), asked: make(map[string]time.Time),
		rate: rate.NewLimiter(rate.Every(10*time.Second), 10),
	}
}

// silent takes that a node does not answer.
func (t *troubles) silent(node string, err error) {
	t.mu.Lock()
	if len(t.asked) == maxTroubles {
		clear(t.asked)
	}
	t.asked[node] = time.Now()
	t.mu.Unlock()
	if t.isNew(trouble{node: node}) {
		t.log.Warn("A node does not answer: its connections count as not open until it does", "node", node, "error", quoted(err))
	}
}

// refused takes that a node answers, but does not do what all of them are asked to do.
func (t *troubles) refused(node, method string, status int, err error) {
	if t.isNew(trouble{node, method, status}) {
		t.log.Warn("A node refuses what it is asked: answers are without its connections", "node", node, "method", method, "error", quoted(err))
	}
}

// answers takes that a node answers.
func (t *troubles) answers(node string) {
	t.mu.Lock()
	_, was := t.told[trouble{node: node}]
	delete(t.told, trouble{node: node})
	delete(t.asked, node)
	t.mu.Unlock()
	if was {
		t.log.Info("A node answers again", "node", node)
	}
}

// silentSince reports whether a node did not answer since a time, when it was asked last.
func (t *troubles) silentSince(at time.Time, node string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.asked[node].After(at)
}

func (t *troubles) isNew(one trouble) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.told[one]; ok || !t.rate.Allow() {
		return false
	}
	if len(t.told) == maxTroubles {
		clear(t.told)
	}
	t.told[one] = struct{}{}
	return true
}

// quoted is an error for the log: it may hold what a caller has written.
func quoted(err error) string { return fmt.Sprintf("%.300q", err.Error()) }
