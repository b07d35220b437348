package peers

import (
	"context"
	"net/http"
	"sync"

	"github.com/centrifugal/centrifuge"
	"github.com/coder/websocket"
	"github.com/lxzan/gws"

	"github.com/iotcast/iotcast/plugins/gateway"
)

// crowd is the set of connections that a server of one's own keeps.
type crowd[C comparable] struct {
	mu    sync.RWMutex
	conns map[C]struct{}
}

func newCrowd[C comparable]() *crowd[C] { return &crowd[C]{conns: map[C]struct{}{}} }

func (c *crowd[C]) join(conn C) {
	c.mu.Lock()
	c.conns[conn] = struct{}{}
	c.mu.Unlock()
}

func (c *crowd[C]) leave(conn C) {
	c.mu.Lock()
	delete(c.conns, conn)
	c.mu.Unlock()
}

func (c *crowd[C]) each(do func(C)) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for conn := range c.conns {
		do(conn)
	}
}

type gwsEvents struct {
	gws.BuiltinEventHandler
	*crowd[*gws.Conn]
}

func (e gwsEvents) OnOpen(c *gws.Conn)           { e.join(c) }
func (e gwsEvents) OnClose(c *gws.Conn, _ error) { e.leave(c) }

// serveGWS uses the library's Broadcaster, which frames a message once.
func serveGWS(c Config) error {
	events := gwsEvents{crowd: newCrowd[*gws.Conn]()}
	upgrader := gws.NewUpgrader(events, nil)
	return serveHTTP(c, func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r)
		if err != nil {
			return
		}
		go conn.ReadLoop()
	}, func(envelope []byte) {
		b := gws.NewBroadcaster(gws.OpcodeText, envelope)
		events.each(func(conn *gws.Conn) { _ = b.Broadcast(conn) })
		_ = b.Close()
	})
}

// serveCoder has no broadcast to use, so it is a loop.
func serveCoder(c Config) error {
	all := newCrowd[*websocket.Conn]()
	return serveHTTP(c, func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		gone := conn.CloseRead(context.Background())
		all.join(conn)
		<-gone.Done()
		all.leave(conn)
	}, func(envelope []byte) {
		all.each(func(conn *websocket.Conn) {
			_ = conn.Write(context.Background(), websocket.MessageText, envelope)
		})
	})
}

// serveGateway is iotcast without Benthos, by plugins/gateway, behind the same bridge as the others.
func serveGateway(c Config) error {
	g, err := gateway.New(gateway.Options{})
	if err != nil {
		return err
	}
	return serveHTTP(c, g.ServeHTTP, func(envelope []byte) { _ = g.BroadcastRaw(gateway.Frame{Data: envelope}) })
}

// serveCentrifuge is here for its handshake alone.
func serveCentrifuge(c Config) error {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		return err
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{}}, nil
	})
	if err := node.Run(); err != nil {
		return err
	}
	return http.ListenAndServe(c.WebSocket, centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{}))
}
