package socketiojwt

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// jwk is a JSON Web Key (RFC 7517 §4), with the members of public keys (RFC 7518 §6, RFC 8037 §2).
type jwk struct {
	Kty, Use, Alg, Crv string
	KeyOps             []string `json:"key_ops"`
	N, E, X, Y         base64url
	D                  json.RawMessage // private keys have it
}

// jwkText is a JWK or, with Keys, a JWKS (RFC 7517 §5).
type jwkText struct {
	jwk
	Keys []jwk
}

type base64url []byte

func (b *base64url) UnmarshalText(text []byte) (err error) {
	*b, err = base64.RawURLEncoding.DecodeString(string(bytes.TrimRight(text, "=")))
	return err
}

func fromJWK(text []byte) (any, error) {
	if j := readJWK(text); j != nil {
		return j.publicKey()
	}
	if bytes.Contains(text, []byte(`"kty`)) {
		return nil, errors.New("this looks like a JWK and cannot be read; pass the JSON object as it is, or its public key as PEM")
	}
	return nil, nil
}

// readJWK returns nil if text is neither.
func readJWK(text []byte) *jwkText {
	if !bytes.HasPrefix(text, []byte("{")) {
		return nil
	}
	var j jwkText
	if err := json.Unmarshal(text, &j); err != nil || j.Kty == "" && j.Keys == nil {
		return nil
	}
	return &j
}

// publicKey returns the one key in j. Which of several keys is meant would be a guess: that is what
// the `kid` of a token is for.
func (j *jwkText) publicKey() (any, error) {
	keys := j.Keys
	if j.Kty != "" {
		keys = append(keys, j.jwk)
	}
	if len(keys) > 1 {
		keys = slices.DeleteFunc(keys, func(k jwk) bool { return !k.verifies() })
	}
	if len(keys) != 1 {
		return nil, errors.New("a JWKS has to have one key for signatures here; pass the one that is meant, or use Keyfunc with a JWKS client, which finds it by kid")
	}
	return keys[0].publicKey()
}

// verifies reports whether k is not for something else, such as encryption.
func (k *jwk) verifies() bool {
	return (k.Use == "" || k.Use == "sig") && (k.KeyOps == nil || slices.Contains(k.KeyOps, "verify"))
}

func (k *jwk) publicKey() (any, error) {
	if k.D != nil {
		return nil, errPrivateKey
	}
	if !k.verifies() {
		return nil, errors.New("this JWK is not for signatures; pass the one whose use is sig")
	}
	key, err := k.parse()
	if err == nil && k.Alg != "" && !slices.Contains(keyMethods(key), k.Alg) {
		return nil, fmt.Errorf("the alg of this JWK does not fit its kty; pass a key for one of %v", keyMethods(key))
	}
	return key, err
}

func (k *jwk) parse() (any, error) {
	switch k.Kty {
	case "RSA":
		return checkRSA(&rsa.PublicKey{N: new(big.Int).SetBytes(k.N), E: k.exponent()})
	case "EC":
		return k.parseEC()
	case "OKP":
		if k.Crv != "Ed25519" {
			return nil, errors.New("no JWT algorithm here uses the crv of this JWK; use Ed25519")
		}
		return checkEd25519(ed25519.PublicKey(k.X))
	case "oct":
		return nil, errors.New("this is a JWK with an HMAC secret; pass the bytes that its k stands for: base64.RawURLEncoding.DecodeString(k)")
	}
	return nil, errors.New("the kty of this JWK is unknown; pass one of RSA, EC or OKP")
}

// exponent returns 0, which no key has, for an exponent that is too large for crypto/rsa.
func (k *jwk) exponent() int {
	e := new(big.Int).SetBytes(k.E)
	if e.BitLen() > 31 {
		return 0
	}
	return int(e.Int64())
}

func (k *jwk) parseEC() (any, error) {
	curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[k.Crv]
	if curve == nil {
		return nil, errors.New("no JWT algorithm here uses the crv of this JWK; use a key on P-256, P-384 or P-521")
	}
	const uncompressed = 4 // SEC 1 §2.3.3
	key, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{uncompressed}, k.X, k.Y))
	if err != nil {
		return nil, fmt.Errorf("the ECDSA key is broken: %w", err)
	}
	return key, nil
}
