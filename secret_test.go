package socketiojwt_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"math/big"
	"runtime"
	"strings"
	"testing"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/golang-jwt/jwt/v5"
)

func TestKeySetsVerifyWithAnyKeyThatFits(t *testing.T) {
	t.Parallel()
	k := harness.Keys()
	set := jwt.VerificationKeySet{Keys: []jwt.VerificationKey{"an old secret of thirty-two bytes or so", harness.Secret, &k.RSA.PublicKey, k.Ed25519Public}}
	for name, secret := range map[string]socketiojwt.Secret{
		"static":   socketiojwt.StaticSecret(set),
		"callback": harness.SecretReturning(set),
		"keyfunc":  socketiojwt.Keyfunc(func(*jwt.Token) (any, error) { return set, nil }),
		"wrapped": socketiojwt.SecretFunc(func(ctx context.Context, r *socketiojwt.Request, token *jwt.Token) (any, error) {
			return socketiojwt.StaticSecret(set).Key(ctx, r, token)
		}),
	} {
		t.Run(name, func(t *testing.T) {
			a := harness.Authorize(t, socketiojwt.Options{Secret: secret})
			for _, tc := range []struct {
				method jwt.SigningMethod
				key    any
				want   error
			}{
				{jwt.SigningMethodHS256, []byte(harness.Secret), nil},
				{jwt.SigningMethodHS256, []byte("an old secret of thirty-two bytes or so"), nil},
				{jwt.SigningMethodHS256, []byte("another"), tokenRefusal("invalid signature")},
				{jwt.SigningMethodHS256, []byte(k.Ed25519Public), tokenRefusal("invalid signature")},
				{jwt.SigningMethodPS256, k.RSA, nil},
				{jwt.SigningMethodEdDSA, k.Ed25519, nil},
				{jwt.SigningMethodES256, k.P256, tokenRefusal("invalid algorithm")},
			} {
				_, err := a.Verify(t.Context(), testRequest, harness.Sign(t, tc.method, tc.key, jwt.MapClaims{}))
				checkRefusal(t, err, tc.want)
			}
		})
	}
}

func TestSecretsThatGiveNoUsableKeyAreUnavailableAndLogged(t *testing.T) {
	t.Parallel()
	k := harness.Keys()
	smallPrime := new(big.Int).SetInt64(65537)
	typedNil := func() error { var e *socketiojwt.UnauthorizedError; return e }
	fails := func(err error) socketiojwt.Secret {
		return socketiojwt.SecretFunc(func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
			return []byte(harness.Secret), err
		})
	}
	for name, secret := range map[string]socketiojwt.Secret{
		"nil":                 harness.SecretReturning(nil),
		"empty string":        harness.SecretReturning(""),
		"empty bytes":         harness.SecretReturning([]byte{}),
		"nil bytes":           harness.SecretReturning([]byte(nil)),
		"empty set":           harness.SecretReturning(jwt.VerificationKeySet{}),
		"set of nothing":      harness.SecretReturning(jwt.VerificationKeySet{Keys: []jwt.VerificationKey{nil, ""}}),
		"set in a set":        harness.SecretReturning(jwt.VerificationKeySet{Keys: []jwt.VerificationKey{jwt.VerificationKeySet{}}}),
		"RSA private key":     harness.SecretReturning(k.RSA),
		"ECDSA private key":   harness.SecretReturning(k.P256),
		"Ed25519 private key": harness.SecretReturning(k.Ed25519),
		"private PEM":         harness.SecretReturning(harness.PEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(k.RSA))),
		"broken PEM":          harness.SecretReturning("-----BEGIN PUBLIC KEY-----\nAAAA"),
		"nil RSA key":         harness.SecretReturning((*rsa.PublicKey)(nil)),
		"zero RSA key":        harness.SecretReturning(&rsa.PublicKey{}),
		"tiny RSA key":        harness.SecretReturning(&rsa.PublicKey{N: smallPrime, E: 65537}),
		"nil ECDSA key":       harness.SecretReturning((*ecdsa.PublicKey)(nil)),
		"zero ECDSA key":      harness.SecretReturning(&ecdsa.PublicKey{}),
		"ECDSA key off curve": harness.SecretReturning(&ecdsa.PublicKey{Curve: elliptic.P256(), X: smallPrime, Y: smallPrime}),
		"short Ed25519 key":   harness.SecretReturning(ed25519.PublicKey("short")),
		"nil Ed25519 key":     harness.SecretReturning((*ed25519.PublicKey)(nil)),
		"none's magic value":  harness.SecretReturning(jwt.UnsafeAllowNoneSignatureType),
		"number":              harness.SecretReturning(42),
		"error":               fails(errors.New("no database")),
		"typed nil error":     fails(typedNil()),
		"nil error of theirs": fails((*theirError)(nil)),
		"panic":               socketiojwt.Keyfunc(func(*jwt.Token) (any, error) { panic(harness.Secret) }),
		"nil dereference":     socketiojwt.Keyfunc(func(*jwt.Token) (any, error) { return *(*string)(nil), nil }),
		"goexit":              socketiojwt.Keyfunc(func(*jwt.Token) (any, error) { runtime.Goexit(); return nil, nil }),
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			a := harness.Authorize(t, socketiojwt.Options{Secret: secret, Logger: logger(&log)})
			raw := harness.SignHS256(t, jwt.MapClaims{"sub": "alice"})
			_, err := a.Verify(t.Context(), testRequest, raw)
			checkRefusal(t, err, secretUnavailable)
			if !strings.Contains(log.String(), "callback=Secret") || !strings.Contains(log.String(), "error=") {
				t.Errorf("not logged: %s", &log)
			}
			for _, private := range []string{harness.Secret, raw, "alice"} {
				if strings.Contains(log.String(), private) {
					t.Errorf("logged %q: %s", private, &log)
				}
			}
		})
	}
}

type theirError struct{ text string }

func (e *theirError) Error() string { return e.text }

func TestKeysOfASetThatCannotVerifyArePassedOver(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	set := jwt.VerificationKeySet{Keys: []jwt.VerificationKey{"", nil, 42, harness.Keys().RSA, harness.Secret}}
	a := harness.Authorize(t, socketiojwt.Options{Secret: harness.SecretReturning(set), Logger: logger(&log)})
	_, err := a.Verify(t.Context(), testRequest, harness.SignHS256(t, jwt.MapClaims{}))
	checkRefusal(t, err, nil)
	_, err = a.Verify(t.Context(), testRequest, harness.Sign(t, jwt.SigningMethodHS256, []byte{}, jwt.MapClaims{}))
	checkRefusal(t, err, tokenRefusal("invalid signature"))
	if !strings.Contains(log.String(), "key 0 of the set") {
		t.Errorf("not logged: %s", &log)
	}
}

func TestSecretSeesTheRequestAndTheTokenAndCannotChangeTheVerdict(t *testing.T) {
	t.Parallel()
	k := harness.Keys()
	forged := harness.Sign(t, jwt.SigningMethodHS256, []byte(harness.PublicPEM(t, &k.RSA.PublicKey)), jwt.MapClaims{"sub": "a"})
	for name, meddle := range map[string]func(*jwt.Token) any{
		"method and alg": func(token *jwt.Token) any {
			token.Method, token.Header["alg"], token.Valid = jwt.SigningMethodRS256, "RS256", true
			return &k.RSA.PublicKey
		},
		"method none": func(token *jwt.Token) any {
			token.Method, token.Header["alg"], token.Signature = jwt.SigningMethodNone, "none", nil
			return jwt.UnsafeAllowNoneSignatureType
		},
		"signature": func(token *jwt.Token) any {
			text := token.Raw[:strings.LastIndex(token.Raw, ".")]
			sig, _ := jwt.SigningMethodHS256.Sign(text, []byte("other"))
			copy(token.Signature, sig)
			token.Signature = sig
			return "other"
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := harness.Authorize(t, socketiojwt.Options{Secret: socketiojwt.SecretFunc(func(_ context.Context, r *socketiojwt.Request, token *jwt.Token) (any, error) {
				if r != testRequest || token.Raw != forged || token.Valid {
					t.Error("Secret got another request or token")
				}
				return meddle(token), nil
			})})
			if _, err := a.Verify(t.Context(), testRequest, forged); err == nil {
				t.Error("the forged token was accepted")
			}
		})
	}
}

func TestWhatSecretDoesToItsTokenStaysThere(t *testing.T) {
	t.Parallel()
	a := harness.Authorize(t, socketiojwt.Options{Secret: socketiojwt.Keyfunc(func(token *jwt.Token) (any, error) {
		delete(token.Claims.(jwt.MapClaims), "exp")
		token.Header["alg"] = "none"
		clear(token.Signature)
		return harness.Secret, nil
	})})
	_, err := a.Verify(t.Context(), testRequest, harness.SignHS256(t, jwt.MapClaims{"exp": 1}))
	checkRefusal(t, err, tokenRefusal("jwt expired"))

	raw := harness.SignHS256(t, jwt.MapClaims{"exp": 4000000000})
	session, err := a.Verify(t.Context(), testRequest, raw)
	if err != nil {
		t.Fatal(err)
	}
	token := session.Token()
	if signature := base64.RawURLEncoding.EncodeToString(token.Signature); token.Header["alg"] != "HS256" || !strings.HasSuffix(raw, signature) {
		t.Errorf("got alg %v, signature %s", token.Header["alg"], signature)
	}
}
