package gateway

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// strangers are the origins whose pages were refused on a route. The log names each
// once, since whoever runs such a page is not told the reason. How often it names one is
// bounded, since anyone can make origins up.
type strangers struct {
	mu    sync.Mutex // guards the rest
	named map[string]struct{}
	rate  *rate.Limiter
}

// isNew reports whether the log shall name the origin now.
func (s *strangers) isNew(origin string) bool {
	const most = 100 // then all are forgotten, and may be named again
	origin = origin[:min(len(origin), 200)]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rate == nil {
		s.rate = rate.NewLimiter(rate.Every(10*time.Second), 10)
	}
	if _, ok := s.named[origin]; ok || !s.rate.Allow() {
		return false
	}
	if s.named == nil || len(s.named) == most {
		s.named = make(map[string]struct{})
	}
	s.named[origin] = struct{}{}
	return true
}
