// Package harness is what the tests of the whole server share: servers that end with their test,
// networks, tokens, and the words in which tests speak. The tests of the root package, of
// internal/attacks and of internal/contract use it. It uses the public API only.
package harness
