// Package siotest is an Engine.IO 3 / Socket.IO 2 client for black-box tests. It follows
// engine.io-client 3.5 and socket.io-client 2.5 on the wire, shares no code with any server,
// and can be made to break every rule: see Options.ManualPoll, Client.SendPacket,
// Client.SendFrames, Client.PostRaw and Client.Probe.
//
// Packets are written in wire notation throughout: `42["chat","hi"]` is the Engine.IO MESSAGE
// (4) that carries the Socket.IO EVENT (2).
//
// The client never gives up by itself: it does not time out on missing PONGs, does not
// reconnect, and a DISCONNECT (41) is only reported. Whoever wants to know when something has
// not happened in time says so by the context.
package siotest
