// Package socketiojwt authenticates the clients of go-socket.io servers with JSON Web Tokens. On
// the wire it does what auth0's socketio-jwt does for Node. Clients that were written for
// socketio-jwt (socket.io-client 1.x and 2.x) work unchanged, and clients 3.x and 4.x work too.
//
// # In two minutes
//
// [Authorize] checks the [Options] and makes an [Authorizer]. [Harden] makes the options of a
// go-socket.io server whose transports an anonymous client can neither crash, stall nor overhear.
// [Authorizer.Protect] puts the two together. Its [Server] is used wherever the go-socket.io server
// was used: what is registered through it sees authenticated clients only. The first example below
// is a complete server.
//
// # Two modes
//
// In handshake mode ([Options.Handshake]) the token comes with the request that opens the
// connection, in a header, the query or a cookie, or in the `auth` option of a client 3.x or 4.x. A
// client without a good token is turned away.
//
// In the round trip, which is the default, anybody may connect. The client then has
// [Options.Timeout] to send its token in an `authenticate` event. Before that the client's events
// reach no handler, and no broadcast reaches the client.
//
// # Sessions
//
// A client that was authenticated has a session. [Authorizer.Session] returns it for a socket, in
// every namespace, also after an upgrade from polling to WebSocket. A session ends when its token
// expires. A client keeps its session by sending a newer token in time, in an `authenticate` event;
// [Options.ExpiryWarning] tells the client when. [Authorizer.Disconnect],
// [Authorizer.DisconnectUser], [Authorizer.DisconnectSubject], [Session.End] and
// [Options.Revocations] end a session earlier. [Authorizer.Middleware] protects HTTP handlers by
// the same tokens.
//
// # Refusals
//
// A client that is refused is told a code and a message, an [UnauthorizedError]: in the `error`
// event (`connect_error` with clients 3.x and 4.x) where it was not connected yet, in the
// `unauthorized` event where it was. Then the client is disconnected so that it does not come back
// by itself, unless the refusal is worth retrying. What cannot be decided is refused. Texts of
// internal errors, secrets and tokens are neither sent to clients nor logged.
//
// # The hooks one by one
//
// Where Protect does not fit, its parts work on a plain *socketio.Server that was made with
// [Harden]:
//
//	server.OnConnect("/", auth.OnConnect)
//	server.OnEvent("/", "authenticate", auth.OnAuthenticate)
//	server.OnDisconnect("/", auth.OnDisconnect)
//	server.OnEvent("/", "chat", auth.Guard(chat))
//	http.Handle("/socket.io/", auth.Handler(server))
//
// [Authorizer.OnConnect], [Authorizer.OnAuthenticate] and [Authorizer.OnDisconnect] are the hooks
// of a namespace that is to be protected. [Authorizer.Guard] wraps each of its event handlers.
// [Authorizer.Handler] is the HTTP gate in front of the server. [Authorizer.Drain] comes before the
// server is closed. What an application does in OnConnect belongs into [Options.OnAuthenticated].
//
// Fewer promises hold than with Protect, because the sockets and rooms are go-socket.io's.
// docs/hooks.md lists what holds and what does not. A program that uses Protect needs none of this,
// and all else in this documentation is about Protect.
package socketiojwt
