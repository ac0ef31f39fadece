package socketiojwt_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/go-socketiojwt/socketiojwt"
)

// Verification with keys from a SecretFunc, where secrets are told from public keys for
// each token.
func BenchmarkSecretFunc(b *testing.B) {
	raw := bytes.Repeat([]byte("\xd1k\x9f\x07\xe2\x55\xb8\x3c"), 8)
	inHex, inBase64 := hex.EncodeToString(raw[:32]), base64.StdEncoding.EncodeToString(raw)
	for _, bench := range []struct {
		name    string
		key     any
		method  jwt.SigningMethod
		private any
	}{
		{"32 bytes", raw[:32], jwt.SigningMethodHS256, raw[:32]},
		{"64 bytes", raw, jwt.SigningMethodHS256, raw},
		{"32 bytes in hex", inHex, jwt.SigningMethodHS256, []byte(inHex)},
		{"64 bytes in base64", inBase64, jwt.SigningMethodHS256, []byte(inBase64)},
		{"PEM", pemPublic(b, keyPairs().edPublic), jwt.SigningMethodEdDSA, keyPairs().ed},
	} {
		b.Run(bench.name, func(b *testing.B) {
			a := mustAuthorize(b, socketiojwt.Options{Secret: secretReturning(bench.key)})
			token := signWith(b, bench.method, bench.private, jwt.MapClaims{"sub": "bob"})
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Verify(b.Context(), testRequest, token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
