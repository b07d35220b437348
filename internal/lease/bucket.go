package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Bucket is a Store: one key of a key-value bucket of NATS. It connects when it is first
// used, and makes the bucket if there is none.
type Bucket struct {
	cfg     BucketConfig
	log     *slog.Logger
	changes chan struct{} // capacity 1

	mu      sync.Mutex
	conn    *nats.Conn
	kv      jetstream.KeyValue // nil to look for the bucket again
	watcher jetstream.KeyWatcher
}

var _ Store = (*Bucket)(nil)

// BucketConfig says where the bucket is.
type BucketConfig struct {
	Connect  func(...nats.Option) (*nats.Conn, error)
	Bucket   string
	Key      string // any text
	Replicas int    // of a bucket that has to be made
}

// NewBucket makes a bucket that is not connected yet.
func NewBucket(cfg BucketConfig, log *slog.Logger) *Bucket {
	return &Bucket{cfg: cfg, log: log, changes: make(chan struct{}, 1)}
}

// Changes implements Store.
func (b *Bucket) Changes() <-chan struct{} { return b.changes }

// Get implements Store.
func (b *Bucket) Get(ctx context.Context) (value []byte, revision uint64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.open(ctx); err != nil {
		return nil, 0, err
	}
	entry, err := b.kv.Get(ctx, b.key())
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return nil, 0, nil
	case err != nil:
		b.forget()
		return nil, 0, fmt.Errorf("reading bucket %s: %w", b.cfg.Bucket, err)
	}
	return entry.Value(), entry.Revision(), nil
}

// Put implements Store.
func (b *Bucket) Put(ctx context.Context, value []byte, revision uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.open(ctx); err != nil {
		return err
	}
	var err error
	if revision == 0 {
		_, err = b.kv.Create(ctx, b.key(), value)
	} else {
		_, err = b.kv.Update(ctx, b.key(), value, revision)
	}
	var refused *jetstream.APIError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrKeyExists),
		errors.As(err, &refused) && refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence:
		return ErrConflict
	}
	b.forget()
	return fmt.Errorf("writing bucket %s: %w", b.cfg.Bucket, err)
}

// Test connects, and asks whether there is JetStream. It makes no bucket.
func (b *Bucket) Test(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	js, err := b.connect(ctx)
	if err != nil {
		return err
	}
	if _, err := js.KeyValue(ctx, b.cfg.Bucket); err != nil && !errors.Is(err, jetstream.ErrBucketNotFound) {
		return fmt.Errorf("looking for bucket %s: %w", b.cfg.Bucket, err)
	}
	return nil
}

// Close ends the connection. The next use opens it again.
func (b *Bucket) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget()
	if b.conn != nil {
		b.conn.Close()
		b.conn = nil
	}
}

// key is the key with what NATS does not allow in one escaped.
func (b *Bucket) key() string {
	var key strings.Builder
	for _, c := range []byte(b.cfg.Key) {
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '-' || c == '_' {
			key.WriteByte(c)
		} else {
			fmt.Fprintf(&key, "=%02X", c)
		}
	}
	return key.String()
}

func (b *Bucket) connect(ctx context.Context) (jetstream.JetStream, error) {
	if b.conn == nil || b.conn.IsClosed() {
		var options []nats.Option
		if deadline, ok := ctx.Deadline(); ok {
			options = append(options, nats.Timeout(max(time.Until(deadline), time.Millisecond)))
		}
		conn, err := b.cfg.Connect(options...)
		if err != nil {
			return nil, err
		}
		b.conn = conn
	}
	if !b.conn.IsConnected() { // else a call would wait for an answer to what is not even sent
		return nil, errors.New("not connected to NATS")
	}
	return jetstream.New(b.conn)
}

func (b *Bucket) open(ctx context.Context) error {
	if b.kv != nil && b.conn.IsConnected() {
		return nil
	}
	js, err := b.connect(ctx)
	if err != nil {
		return err
	}
	kv, err := js.KeyValue(ctx, b.cfg.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: b.cfg.Bucket, Description: "which trigger reads which part of the messages", Replicas: b.cfg.Replicas,
		})
		if err == nil {
			b.log.Info("Made the bucket of leases in NATS", "bucket", b.cfg.Bucket, "replicas", b.cfg.Replicas)
		}
	}
	if err != nil {
		return fmt.Errorf("opening bucket %s: %w", b.cfg.Bucket, err)
	}
	b.forget()
	b.kv = kv
	b.watch()
	return nil
}

// watch passes on that the key has changed. That it has is looked up again anyway,
// now and then, so it does not matter if this fails.
func (b *Bucket) watch() {
	w, err := b.kv.Watch(context.Background(), b.key(), jetstream.MetaOnly(), jetstream.UpdatesOnly())
	if err != nil {
		b.log.Debug("Changes of leases cannot be watched", "error", err)
		return
	}
	b.watcher = w
	go func() {
		for range w.Updates() {
			select {
			case b.changes <- struct{}{}:
			default:
			}
		}
	}()
}

func (b *Bucket) forget() {
	if b.watcher != nil {
		_ = b.watcher.Stop()
		b.watcher = nil
	}
	b.kv = nil
}
