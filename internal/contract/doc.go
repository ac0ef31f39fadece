// Package contract has no code but tests: what a protected server promises its clients, of whole
// servers and through the public API only. Bytes stand in transcripts, testdata/*.wire.
package contract
