package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const hs256 = "HS256"

// algorithms are those of the reconnect storm.
var algorithms = []string{hs256, "RS256", "ES256", "EdDSA"}

// key is what a server verifies with, and a token that it accepts.
type key struct{ public, token string }

// keys are by algorithm.
type keys map[string]key

func newKeys() (keys, error) {
	const secret = "a secret to measure with, of 32 bytes or more"
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	es, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	all := keys{}
	for method, private := range map[jwt.SigningMethod]any{
		jwt.SigningMethodHS256: []byte(secret),
		jwt.SigningMethodRS256: rs,
		jwt.SigningMethodES256: es,
		jwt.SigningMethodEdDSA: ed,
	} {
		k := key{public: secret}
		if signer, ok := private.(crypto.Signer); ok {
			der, err := x509.MarshalPKIXPublicKey(signer.Public())
			if err != nil {
				return nil, err
			}
			k.public = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		}
		if k.token, err = sign(method, private); err != nil {
			return nil, fmt.Errorf("%s: %w", method.Alg(), err)
		}
		all[method.Alg()] = k
	}
	return all, nil
}

func sign(method jwt.SigningMethod, private any) (string, error) {
	now := time.Now()
	return jwt.NewWithClaims(method, jwt.MapClaims{
		"sub": "user-1234567", "name": "Bob", "iss": "https://issuer.example/", "aud": "chat",
		"iat": now.Unix(), "exp": now.Add(24 * time.Hour).Unix(), "jti": "c0ffee",
	}).SignedString(private)
}
