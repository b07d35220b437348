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

	"github.com/MicahParks/jwkset"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
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
//
// It is jwkset's storage, too, and takes a set only if something can be verified
// with it.
type remoteKeys struct {
	jwkset.Storage
	url     string
	refresh time.Duration
	log     *slog.Logger

	ctx     context.Context // of Start, until close
	cancel  context.CancelFunc
	started sync.WaitGroup
	first   chan struct{}  // closed when the first fetch is over
	client  jwkset.Storage // fetches; nil until then
	limit   *rate.Limiter
	flight  singleflight.Group

	keys    atomic.Pointer[[]key]
	failure atomic.Pointer[error] // of the last fetch; nil: it succeeded
}

func newRemoteKeys(url string, refresh time.Duration) *remoteKeys {
	r := &remoteKeys{
		Storage: jwkset.NewMemoryStorage(),
		url:     url,
		refresh: refresh,
		first:   make(chan struct{}),
		limit:   rate.NewLimiter(rate.Every(unknownEvery), unknownBurst),
	}
	r.keys.Store(new([]key))
	r.failure.Store(&errNotStarted)
	return r
}

func (r *remoteKeys) start(log *slog.Logger) error {
	r.log = log
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.started.Go(func() {
		defer close(r.first)
		fetched, err := jwkset.NewStorageFromHTTP(r.url, jwkset.HTTPClientStorageOptions{
			Client:                    client(),
			Ctx:                       r.ctx,
			HTTPTimeout:               fetchTimeout,
			NoErrorReturnFirstHTTPReq: true,
			RefreshInterval:           r.refresh,
			RefreshErrorHandler:       r.failed,
			Storage:                   r,
		})
		if err == nil {
			r.client, err = jwkset.NewHTTPClient(jwkset.HTTPClientOptions{
				HTTPURLs:          map[string]jwkset.Storage{r.url: fetched},
				RefreshUnknownKID: r.limit,
			})
		}
		if err != nil {
			r.failed(r.ctx, err)
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

// KeyReplaceAll implements jwkset.Storage with what was fetched.
func (r *remoteKeys) KeyReplaceAll(ctx context.Context, set []jwkset.JWK) error {
	if len(set) > maxSetKeys {
		return fmt.Errorf("%d keys are more than the %d that a set may have", len(set), maxSetKeys)
	}
	var keys []key
	var why error
	for _, jwk := range set {
		k, err := fromJWK(jwk)
		if _, shared := k.key.([]byte); err == nil && shared {
			err = fmt.Errorf("key %q is a shared secret, and anyone can fetch it", k.id)
		}
		if err != nil {
			why = errors.Join(why, err)
			continue
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return errors.Join(errors.New("there is no key that can be used"), why)
	}
	r.keys.Store(&keys)
	if r.failure.Swap(nil) != nil {
		r.log.Info("Fetched the keys of tokens", "url", r.url, "keys", len(keys))
	}
	return r.Storage.KeyReplaceAll(ctx, set)
}

// failed keeps the error of a fetch.
func (r *remoteKeys) failed(_ context.Context, err error) {
	err = fmt.Errorf("fetching keys from %s: %w", r.url, err)
	r.failure.Store(&err)
	if r.ctx.Err() == nil {
		r.log.Warn("Keys of tokens cannot be fetched, those that are known stay in use", "known", len(*r.keys.Load()), "error", err)
	}
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
	case <-r.flight.DoChan("", r.fetch):
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

// fetch fetches the set now, unless it just was.
func (r *remoteKeys) fetch() (any, error) {
	if r.client == nil || r.limit.Tokens() < 1 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(r.ctx, fetchTimeout)
	defer cancel()
	// The library fetches when it is asked for a key that it does not have.
	_, _ = r.client.KeyRead(ctx, "\x00")
	return nil, nil
}

// client returns an HTTP client that a server of keys cannot do much harm to.
func client() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true // for one request in a long time
	transport.MaxResponseHeaderBytes = 64 << 10
	return &http.Client{
		Transport: bounded{transport},
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

// bounded ends an answer that is too large early, so that it is no JSON.
type bounded struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := b.RoundTripper.RoundTrip(req)
	if err == nil {
		res.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(res.Body, maxSetBytes), res.Body}
	}
	return res, err
}
