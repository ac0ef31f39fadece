// Package siotest is a Socket.IO client for black-box tests. Options.Version chooses what it
// speaks: 3 is Engine.IO 3 with Socket.IO protocol 4, 4 is Engine.IO 4 with Socket.IO protocol 5.
// On the wire it follows engine.io-client 3.5 and socket.io-client 2.5, or engine.io-client 6 and
// socket.io-client 4. It shares no code with any server, and can be made to break every rule: see
// Options.ManualPoll, Options.NoPong, Client.SendPacket, Client.SendFrames, Client.PostRaw and
// Client.Probe.
//
// Packets are written in wire notation throughout: `42["chat","hi"]` is the Engine.IO MESSAGE
// (4) that carries the Socket.IO EVENT (2).
//
// The client never gives up by itself: it does not time out on missing PINGs or PONGs, does not
// reconnect, and a DISCONNECT (41) or CONNECT_ERROR (44) is only reported. Whoever wants to know
// when something has not happened in time says so by the context.
package siotest
