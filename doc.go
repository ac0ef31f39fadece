// Package socketiojwt authenticates the clients of go-socket.io servers with JSON Web Tokens.
// It does on the wire what auth0's socketio-jwt does for Node, so clients written for that
// (socket.io-client 1.x and 2.x) work unchanged, and so do clients 3.x and 4.x.
//
// # In two minutes
//
// [Authorize] checks the [Options] and makes an [Authorizer]. [Harden] makes the options of a
// go-socket.io server with transports that an anonymous client can neither crash, stall nor
// overhear. [Authorizer.Protect] puts the two together: its [Server] is used where the
// go-socket.io server was used, and what is registered through it sees authenticated clients only.
// The first example below is a complete server.
//
// A client brings its token in one of two ways. With [Options.Handshake] it comes with the request
// that opens the connection, in a header, the query or a cookie, and who has none that is good is
// turned away before there is a connection. Without, in the round trip, anybody may connect and
// then has [Options.Timeout] to send it in an `authenticate` event; until then its events reach no
// handler and no broadcast reaches it.
//
// [Authorizer.Session] tells who a socket belongs to, in every namespace and also after an upgrade
// from polling to WebSocket. A session ends with its token. A client stays by sending
// `authenticate` with a newer one in time, [Options.ExpiryWarning] tells it when, and
// [Authorizer.Disconnect], [Authorizer.DisconnectSubject] and [Options.Revocations] end it before.
// [Authorizer.Middleware] protects HTTP handlers by the same tokens.
//
// # Refusals
//
// A client that is refused is told a code and a message, an [UnauthorizedError]: in the `error`
// event of the handshake or the `unauthorized` event of the round trip. Then it is disconnected in
// a way after which it does not come back by itself, unless it is worth trying again. Whatever
// cannot be decided is a refusal. Texts of internal errors, secrets and tokens get neither to
// clients nor into the log.
package socketiojwt
