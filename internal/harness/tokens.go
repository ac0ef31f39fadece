package harness

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/golang-jwt/jwt/v5"
)

// Secret signs the tokens of this package.
const Secret = "a secret of at least thirty-two bytes"

// SecretReturning is a callback that gives the same key for each token.
func SecretReturning(key any) socketiojwt.Secret {
	return socketiojwt.SecretFunc(func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) { return key, nil })
}

// TokenOf makes a token of sub that does not expire.
func TokenOf(tb testing.TB, sub string) string {
	tb.Helper()
	return SignHS256(tb, jwt.MapClaims{"sub": sub})
}

// TokenFor makes a token of sub that expires after life.
func TokenFor(tb testing.TB, sub string, life time.Duration) string {
	tb.Helper()
	return SignHS256(tb, jwt.MapClaims{"sub": sub, "exp": time.Now().Add(life).Unix()})
}

// WithToken is the query of a client that has a token.
func WithToken(raw string) url.Values { return url.Values{"token": {raw}} }

// Sign makes a token.
func Sign(tb testing.TB, method jwt.SigningMethod, key any, claims jwt.Claims) string {
	tb.Helper()
	raw, err := jwt.NewWithClaims(method, claims).SignedString(key)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// SignHS256 makes a token with Secret.
func SignHS256(tb testing.TB, claims jwt.MapClaims) string {
	tb.Helper()
	return Sign(tb, jwt.SigningMethodHS256, []byte(Secret), claims)
}

// SignParts signs a header and a payload as they are, which need not be a JWT's.
func SignParts(header, payload string) string {
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	sig, err := jwt.SigningMethodHS256.Sign(text, []byte(Secret))
	if err != nil {
		panic(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// Keys are made once: RSA keys take their time.
var Keys = sync.OnceValue(func() (k struct {
	RSA              *rsa.PrivateKey
	P256, P384, P521 *ecdsa.PrivateKey
	Ed25519          ed25519.PrivateKey
	Ed25519Public    ed25519.PublicKey
}) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	var err error
	k.RSA, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	k.P256, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	k.P384, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(err)
	k.P521, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	must(err)
	k.Ed25519Public, k.Ed25519, err = ed25519.GenerateKey(rand.Reader)
	must(err)
	return k
})

// PEM encodes a key.
func PEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// PublicPEM encodes a public key.
func PublicPEM(tb testing.TB, key any) string {
	tb.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return PEM("PUBLIC KEY", der)
}

// FromBase64 decodes what RFCs print.
func FromBase64(text string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return b
}
