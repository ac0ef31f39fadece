// Command centrifuge is a server of github.com/centrifugal/centrifuge to be measured, with
// jwt.Parse in OnConnecting. Its clients speak JSON over WebSocket, and are subscribed to the
// channel of the broadcasts by the server. It runs until it is killed.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"log"
	"net/http"
	"os"
	"sync/atomic"

	"github.com/centrifugal/centrifuge"
	"github.com/go-socketiojwt/socketiojwt/bench/gopeer/control"
	"github.com/golang-jwt/jwt/v5"
)

const channel = "news"

func main() {
	secret := flag.String("key", "", "an HMAC secret")
	flag.Parse()
	key := func(*jwt.Token) (any, error) { return []byte(*secret), nil }
	fatal := log.New(os.Stderr, "centrifuge: ", 0)
	var authenticated atomic.Int64

	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		fatal.Fatal(err)
	}
	node.OnConnecting(func(_ context.Context, e centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		token, err := jwt.Parse(e.Token, key, jwt.WithValidMethods([]string{"HS256"}))
		if err != nil {
			return centrifuge.ConnectReply{}, centrifuge.DisconnectInvalidToken
		}
		user, err := token.Claims.GetSubject()
		if err != nil {
			return centrifuge.ConnectReply{}, centrifuge.DisconnectInvalidToken
		}
		authenticated.Add(1)
		return centrifuge.ConnectReply{
			Credentials:   &centrifuge.Credentials{UserID: user},
			Subscriptions: map[string]centrifuge.SubscribeOptions{channel: {}},
		}, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnRPC(func(e centrifuge.RPCEvent, answer centrifuge.RPCCallback) {
			answer(centrifuge.RPCReply{Data: e.Data}, nil)
		})
	})
	if err := node.Run(); err != nil {
		fatal.Fatal(err)
	}

	http.Handle("/connection/websocket", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{}))
	control.Run(control.Server{
		Clients:       node.Hub().NumClients,
		Authenticated: func() int { return int(authenticated.Load()) },
		Broadcast: func(text string) {
			data, err := json.Marshal(text)
			if err == nil {
				_, err = node.Publish(channel, data)
			}
			if err != nil {
				fatal.Fatal(err)
			}
		},
	})
}
