// Package attacks has no code but tests, of whole servers and through the public API only. Whoever
// attacks knows no more than that.
//
//   - hazards: each hazard of go-socket.io that SECURITY.md lists, played against a server that
//     an honest client uses meanwhile (siege)
//   - tokens, forgeries: forged tokens, as a handshake and as an `authenticate` event
//   - bypass, muting, places: ways around the authentication, and what they leave behind
//   - strangers: storms of clients without a token
//   - requests, limits, heap, slowclose: what a stranger may cost
//   - stress, fuzz, soak: all of it in random order. `make fuzz` and `make soak` run them for long
package attacks
