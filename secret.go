package socketiojwt

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/golang-jwt/jwt/v5"
)

// Secret finds the key that verifies a token. It is to [SecretFunc] what http.Handler is to
// http.HandlerFunc.
//
// The token is parsed but NOT verified: anybody may have written what it says. So use it to choose
// a key (by `kid`, `iss` or `sub`) and for nothing else. Do not write to its claims. ctx ends when
// the client may wait no longer; a Key that goes on after that is abandoned.
//
// The key is what [StaticSecret] takes: a string or bytes, which are an HMAC secret unless they are
// a public key in one of the forms listed there; an *rsa.PublicKey, *ecdsa.PublicKey or
// ed25519.PublicKey; or a jwt.VerificationKeySet of those, one of which has to fit. A key is used
// only for the algorithms of its type, so an RSA key never meets HS256. What cannot verify tokens
// (nothing, an empty secret, a private key, another type) refuses the client; in a set it is passed
// over and logged.
//
// An *UnauthorizedError decides what the client is told. Any other error, a panic, and the end of
// ctx are logged, and the client is told only that no secret is available.
type Secret interface {
	Key(ctx context.Context, r *Request, token *jwt.Token) (key any, err error)
}

// SecretFunc lets a function be a [Secret].
type SecretFunc func(ctx context.Context, r *Request, token *jwt.Token) (key any, err error)

// Key calls f.
func (f SecretFunc) Key(ctx context.Context, r *Request, token *jwt.Token) (any, error) {
	return f(ctx, r, token)
}

// Keyfunc makes a [Secret] of a golang-jwt key function, which is what JWKS clients have. Such a
// function knows neither the request nor its deadline; it is abandoned when the deadline has
// passed.
func Keyfunc(f jwt.Keyfunc) Secret { return keyfunc(f) }

type keyfunc jwt.Keyfunc

func (f keyfunc) Key(_ context.Context, _ *Request, token *jwt.Token) (any, error) {
	return f(token)
}

// StaticSecret is one key for all tokens: a string or bytes, an *rsa.PublicKey, *ecdsa.PublicKey or
// ed25519.PublicKey, or a jwt.VerificationKeySet of those.
//
// A string or bytes that contain a public key or a certificate stand for that key: PEM, the base64
// of a PEM without its first and last line, DER, a JWK, or a JWKS with one key for signatures. They
// may be in UTF-16, base64 or hex. The alg of a JWK has to fit its key but does not narrow the
// algorithms: that is what Options.Methods is for. Of a certificate only the key counts, neither
// its dates nor its issuer.
//
// A private key is an error, because a secret that others know is none. So is what looks like a key
// and cannot be read, a JWK of kind oct: pass the bytes that its k stands for, and the name of a
// file or the URL of a key, which can be guessed.
//
// Any other string or bytes are an HMAC secret as they are. It should be at least as long as the
// hash: 32 bytes for HS256 (RFC 7518 §3.2). Bytes are copied. A public key in bytes without a form,
// such as the 32 bytes of an Ed25519 key, cannot be told from a secret: pass an ed25519.PublicKey.
//
// [Authorize] returns the error for a key that cannot verify anything.
func StaticSecret(key any) Secret {
	keys, err := parseKeys(key)
	return &staticSecret{keys: keys, err: err}
}

type staticSecret struct {
	keys []any
	err  error
}

func (s *staticSecret) Key(context.Context, *Request, *jwt.Token) (any, error) {
	switch {
	case s.err != nil:
		return nil, s.err
	case len(s.keys) == 1:
		return s.keys[0], nil
	}
	return keySet(s.keys), nil
}

// String keeps the key out of printed Options.
func (s *staticSecret) String() string { return "static secret" }

// GoString keeps the key out of printed Options.
func (s *staticSecret) GoString() string { return s.String() }

// methods returns the algorithms that fit at least one of the keys.
func (s *staticSecret) methods() []string {
	return slices.DeleteFunc(allMethods(), func(alg string) bool {
		return fittingKey(s.keys, alg) == nil
	})
}

// byAlgorithm sorts the keys once, so that the lookup for a token costs nothing. A value is what
// golang-jwt's Keyfunc may return: a key, or a set where several fit.
func (s *staticSecret) byAlgorithm() map[string]any {
	byAlg := make(map[string]any)
	for _, alg := range s.methods() {
		byAlg[alg] = fittingKey(s.keys, alg)
	}
	return byAlg
}

// fittingKey returns the one of keys that fits alg, a set where several do, nil where none does.
func fittingKey(keys []any, alg string) any {
	var fit []any
	for _, key := range keys {
		if slices.Contains(keyMethods(key), alg) {
			fit = append(fit, key)
		}
	}
	switch len(fit) {
	case 0:
		return nil
	case 1:
		return fit[0]
	}
	return keySet(fit)
}

func keySet(keys []any) jwt.VerificationKeySet {
	set := jwt.VerificationKeySet{Keys: make([]jwt.VerificationKey, len(keys))}
	for i, key := range keys {
		set.Keys[i] = key
	}
	return set
}

// parseKeys returns the usable keys in what the application gave, each of a type that keyMethods
// knows. It returns an error too if the key, or one in a set, cannot verify tokens.
func parseKeys(key any) (usable []any, err error) {
	set, ok := key.(jwt.VerificationKeySet)
	if !ok {
		parsed, err := parseKey(key)
		if err != nil {
			return nil, err
		}
		return []any{parsed}, nil
	}
	if len(set.Keys) == 0 {
		return nil, errors.New("the key set is empty; put at least one key into it")
	}
	for i, k := range set.Keys {
		parsed, keyErr := parseKey(k)
		if keyErr != nil {
			err = errors.Join(err, fmt.Errorf("key %d of the set: %w", i, keyErr))
			continue
		}
		usable = append(usable, parsed)
	}
	return usable, err
}
