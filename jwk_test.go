package socketiojwt_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"

	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/golang-jwt/jwt/v5"
)

// jwkOf returns the members of RFC 7517 and RFC 8037 for a public key.
func jwkOf(t *testing.T, public crypto.PublicKey) map[string]any {
	t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	switch k := public.(type) {
	case *rsa.PublicKey:
		return map[string]any{"kty": "RSA", "n": b64(k.N.Bytes()), "e": "AQAB"}
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		n := len(point) / 2
		return map[string]any{"kty": "EC", "crv": k.Params().Name, "x": b64(point[1 : 1+n]), "y": b64(point[1+n:])}
	case ed25519.PublicKey:
		return map[string]any{"kty": "OKP", "crv": "Ed25519", "x": b64(k)}
	}
	t.Fatalf("a %T", public)
	return nil
}

// with returns a copy of a JWK that has another member.
func with(key map[string]any, name string, value any) map[string]any {
	changed := map[string]any{name: value}
	for n, v := range key {
		if n != name {
			changed[n] = v
		}
	}
	return changed
}

func jsonOf(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func jwks(keys ...any) map[string]any { return map[string]any{"keys": keys} }

func TestPublicJWKsAreNeverHMACSecrets(t *testing.T) {
	t.Parallel()
	for _, s := range signers() {
		genuine := harness.Sign(t, s.method, s.private, jwt.MapClaims{"sub": "a"})
		key := jwkOf(t, s.private.Public())
		alg := s.method.Alg()
		indented, err := json.MarshalIndent(key, "\t", "  ")
		if err != nil {
			t.Fatal(err)
		}
		text := jsonOf(t, key)
		for name, text := range map[string][]byte{
			"JWK":                      []byte(text),
			"JWK, indented":            append([]byte("\n\t"), indented...),
			"JWK with BOM":             []byte("\ufeff" + text),
			"JWK in UTF-16":            utf16Of(binary.BigEndian, text),
			"JWK in base64":            []byte(base64.StdEncoding.EncodeToString([]byte(text))),
			"JWK in base64url":         []byte(base64.RawURLEncoding.EncodeToString([]byte(text))),
			"JWK with alg and use":     []byte(jsonOf(t, with(with(key, "alg", alg), "use", "sig"))),
			"JWK with key_ops":         []byte(jsonOf(t, with(key, "key_ops", []string{"verify"}))),
			"JWK with kid and x5c":     []byte(jsonOf(t, with(with(key, "kid", "1"), "x5c", []string{"MII"}))),
			"JWK with escapes":         []byte(strings.Replace(text, `"kty"`, `"\u006bt\u0079"`, 1)),
			"JWK, padded":              []byte(strings.Replace(text, `"}`, `="}`, 1)),
			"JWKS":                     []byte(jsonOf(t, jwks(key))),
			"JWKS in base64":           []byte(base64.StdEncoding.EncodeToString([]byte(jsonOf(t, jwks(key))))),
			"JWKS with one to encrypt": []byte(jsonOf(t, jwks(with(key, "use", "enc"), with(key, "use", "sig")))),
		} {
			t.Run(s.name+"/"+name, func(t *testing.T) {
				checkIsPublicKey(t, form{name, text}, genuine, forgeries(t, text))
			})
		}
		for name, tc := range map[string]struct{ text, whatToDo string }{
			"JWK, private":             {jsonOf(t, with(key, "d", "AQAB")), "private key"},
			"JWKS with a private one":  {jsonOf(t, jwks(with(key, "d", "AQAB"))), "private key"},
			"JWK, private, in base64":  {base64.StdEncoding.EncodeToString([]byte(jsonOf(t, with(key, "d", "AQAB")))), "private key"},
			"JWK to encrypt":           {jsonOf(t, with(key, "use", "enc")), "sig"},
			"JWK to wrap":              {jsonOf(t, with(key, "key_ops", []string{"wrapKey"})), "sig"},
			"JWK for HS256":            {jsonOf(t, with(key, "alg", "HS256")), "alg"},
			"JWK for key management":   {jsonOf(t, with(key, "alg", "RSA-OAEP")), "alg"},
			"JWK of another kind":      {jsonOf(t, with(key, "kty", "AKP")), "RSA, EC or OKP"},
			"JWK of a kind, a number":  {jsonOf(t, with(key, "kty", 1)), "PEM"},
			"JWK with X25519":          {jsonOf(t, map[string]any{"kty": "OKP", "crv": "X25519", "x": strings.Repeat("A", 43)}), "Ed25519"},
			"JWK with a huge exponent": {jsonOf(t, map[string]any{"kty": "RSA", "n": strings.Repeat("x", 342), "e": "AQAAAAE"}), "RSA key is broken"},
			"JWK on another curve":     {jsonOf(t, map[string]any{"kty": "EC", "crv": "secp256k1", "x": "AQAB", "y": "AQAB"}), "P-256"},
			"JWK of nothing":           {jsonOf(t, map[string]any{"kty": key["kty"], "crv": key["crv"]}), "key"},
			"JWK without an end":       {strings.TrimSuffix(text, "}"), "PEM"},
			"JWK with more after it":   {text + ";", "PEM"},
			"JWK in a list":            {"[" + text + "]", "PEM"},
			"JWK in a string":          {jsonOf(t, text), "PEM"},
			"JWK with a name":          {"JWT_KEY=" + text, "PEM"},
			"JWKS with two":            {jsonOf(t, jwks(key, with(key, "kid", "2"))), "Keyfunc"},
			"JWKS with none":           {`{"keys":[]}`, "Keyfunc"},
			"JWKS and JWK":             {jsonOf(t, with(jwks(key), "kty", "oct")), "Keyfunc"},
			"JWKS with an oct":         {jsonOf(t, jwks(key, map[string]any{"kty": "oct", "k": "AQAB"})), "Keyfunc"},
			"JWKS of something else":   {jsonOf(t, jwks(key, "x")), "PEM"},
			"JWK, with base64 broken":  {jsonOf(t, with(key, "x", "!!")), "PEM"},
			"JWK, with an x too short": {jsonOf(t, with(with(key, "x", "AQAB"), "n", "AQAB")), "key"},
		} {
			t.Run(s.name+"/"+name, func(t *testing.T) {
				checkIsRefused(t, form{name, []byte(tc.text)}, tc.whatToDo, forgeries(t, []byte(tc.text)))
			})
		}
	}
}

// A JWK of kind oct is a secret, but not as it is: others sign with the bytes of its k.
func TestSecretInAJWK(t *testing.T) {
	t.Parallel()
	k := base64.RawURLEncoding.EncodeToString([]byte(harness.Secret))
	for _, text := range []string{`{"kty":"oct","k":"` + k + `"}`, `{"keys":[{"alg":"HS256","k":"` + k + `","kty":"oct"}]}`} {
		forged := forgeries(t, []byte(text), []byte(k), []byte(harness.Secret))
		checkIsRefused(t, form{"oct", []byte(text)}, "base64.RawURLEncoding.DecodeString(k)", forged)
		in64 := []byte(base64.StdEncoding.EncodeToString([]byte(text)))
		checkIsRefused(t, form{"oct in base64", in64}, "base64.RawURLEncoding.DecodeString(k)", forged)
	}
}
