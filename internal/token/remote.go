package token

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"github.com/iotcast/iotcast/internal/version"
)

// What a server of keys may cost. It is trusted to know the keys, not to answer
// in time, nor to be brief.
const (
	fetchTimeout = 5 * time.Second
	maxSetBytes  = 512 << 10
	maxSetKeys   = 100
	maxRedirects = 3
	unknownEvery = 10 * time.Second // between fetches for the sake of unknown key IDs
	unknownBurst = 2
)

// remoteKeys are the keys of a URL. They are fetched in the background, and, but
// seldom, at once when a token names a key that is not there: the issuer may have
// changed keys. While the server does not answer as it should, the last keys stay.
type remoteKeys struct {
	url     string
	refresh time.Duration
	set     keySet
	client  *http.Client
	log     *slog.Logger

	ctx     context.Context // of start, until close
	cancel  context.CancelFunc
	started sync.WaitGroup
	first   chan struct{} // closed when the first fetch is over
	limit   *rate.Limiter
	flight  singleflight.Group

	fetching sync.Mutex // one fetch at a time, so that an older answer does not come after a newer

	keys    atomic.Pointer[[]key]
	failure atomic.Pointer[error] // of the last fetch; nil: it succeeded
}

func newRemoteKeys(url string, refresh time.Duration) *remoteKeys {
	r := &remoteKeys{
		url:     url,
		refresh: refresh,
		set:     keySet{public: true},
		client:  client(),
		first:   make(chan struct{}),
		limit:   rate.NewLimiter(rate.Every(unknownEvery), unknownBurst),
	}
	r.keys.Store(new([]key))
	r.failure.Store(&errNotStarted)
	return r
}

func (r *remoteKeys) start(log *slog.Logger) error {
	r.log = log.With("url", r.url)
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.started.Go(func() {
		r.fetch()
		close(r.first)
		for ticker := time.Tick(r.refresh); ; {
			select {
			case <-ticker:
				r.fetch()
			case <-r.ctx.Done():
				return
			}
		}
	})
	return nil
}

func (r *remoteKeys) close() {
	if r.cancel != nil {
		r.cancel()
		r.started.Wait()
	}
}

// fetch fetches the set now.
func (r *remoteKeys) fetch() {
	r.fetching.Lock()
	defer r.fetching.Unlock()
	keys, err := r.get()
	if err != nil {
		err = fmt.Errorf("fetching keys from %s: %w", r.url, err)
		r.failure.Store(&err)
		if r.ctx.Err() == nil {
			r.log.Warn("Keys of tokens cannot be fetched, those that are known stay in use", "known", len(*r.keys.Load()), "error", err)
		}
		return
	}
	r.keys.Store(&keys)
	if r.failure.Swap(nil) != nil {
		r.log.Info("Fetched the keys of tokens", "keys", len(keys))
	}
}

func (r *remoteKeys) get() ([]key, error) {
	req, err := http.NewRequestWithContext(r.ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", version.UserAgent())
	res, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer has status %s", res.Status)
	}
	content, err := io.ReadAll(io.LimitReader(res.Body, maxSetBytes+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxSetBytes {
		return nil, fmt.Errorf("the answer has more than %d bytes", maxSetBytes)
	}
	return r.set.parse(r.log, content)
}

// find implements keySource.
func (r *remoteKeys) find(ctx context.Context, alg, kid string) ([]key, error) {
	if alg == hs256 {
		return nil, nil // a URL has none
	}
	if r.cancel == nil {
		return nil, errNotStarted
	}
	select {
	case <-r.first:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if keys := *r.keys.Load(); known(keys, kid) {
		return keys, nil
	}
	select {
	case <-r.flight.DoChan("", func() (any, error) {
		if r.limit.Allow() {
			r.fetch()
		}
		return nil, nil
	}):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	keys := *r.keys.Load()
	if failure := r.failure.Load(); failure != nil && !known(keys, kid) {
		return keys, *failure
	}
	return keys, nil
}

// known tells whether a key has the ID; with no ID, whether there is any.
func known(keys []key, kid string) bool {
	return slices.ContainsFunc(keys, func(k key) bool { return kid == "" || k.id == "" || k.id == kid })
}

// client returns an HTTP client that a server of keys cannot do much harm to.
func client() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true // for one request in a long time
	transport.MaxResponseHeaderBytes = 64 << 10
	return &http.Client{
		Transport: transport,
		Timeout:   fetchTimeout,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			switch {
			case len(via) > maxRedirects:
				return fmt.Errorf("more than %d redirects", maxRedirects)
			case via[0].URL.Scheme == "https" && req.URL.Scheme != "https":
				return errors.New("a redirect away from https")
			}
			return nil
		},
	}
}
