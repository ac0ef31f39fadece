package socketiojwt_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
)

func TestAKeyOnlyMeetsTheAlgorithmsOfItsKind(t *testing.T) {
	t.Parallel()
	k := harness.Keys()
	certificate, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, &k.RSA.PublicKey, k.RSA)
	if err != nil {
		t.Fatal(err)
	}
	rsaPEM := harness.PublicPEM(t, &k.RSA.PublicKey)

	families := map[string]struct {
		public  []any // the same key in every form it may have
		private any
		methods []jwt.SigningMethod
	}{
		"HMAC": {
			[]any{harness.Secret, []byte(harness.Secret)}, []byte(harness.Secret),
			[]jwt.SigningMethod{jwt.SigningMethodHS256, jwt.SigningMethodHS384, jwt.SigningMethodHS512},
		},
		"RSA": {
			[]any{
				&k.RSA.PublicKey, k.RSA.PublicKey, rsaPEM, []byte(rsaPEM),
				harness.PEM("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&k.RSA.PublicKey)),
				harness.PEM("CERTIFICATE", certificate), harness.PEM("CERTIFICATE", certificate) + harness.PEM("CERTIFICATE", certificate),
				strings.ReplaceAll("\n\n "+rsaPEM, "\n", "\r\n\t"), "Some words before.\n" + strings.TrimSpace(rsaPEM),
			}, k.RSA,
			[]jwt.SigningMethod{jwt.SigningMethodRS256, jwt.SigningMethodRS384, jwt.SigningMethodRS512, jwt.SigningMethodPS256, jwt.SigningMethodPS384, jwt.SigningMethodPS512},
		},
		"P-256":   {[]any{&k.P256.PublicKey, harness.PublicPEM(t, &k.P256.PublicKey)}, k.P256, []jwt.SigningMethod{jwt.SigningMethodES256}},
		"P-384":   {[]any{&k.P384.PublicKey, harness.PublicPEM(t, &k.P384.PublicKey)}, k.P384, []jwt.SigningMethod{jwt.SigningMethodES384}},
		"P-521":   {[]any{&k.P521.PublicKey, harness.PublicPEM(t, &k.P521.PublicKey)}, k.P521, []jwt.SigningMethod{jwt.SigningMethodES512}},
		"Ed25519": {[]any{k.Ed25519Public, &k.Ed25519Public, harness.PublicPEM(t, k.Ed25519Public)}, k.Ed25519, []jwt.SigningMethod{jwt.SigningMethodEdDSA}},
	}
	for verifier, v := range families {
		for form, key := range v.public {
			static := harness.Authorize(t, socketiojwt.Options{Secret: socketiojwt.StaticSecret(key)})
			callback := harness.Authorize(t, socketiojwt.Options{Secret: harness.SecretReturning(key)})
			for signer, s := range families {
				for _, method := range s.methods {
					raw := harness.Sign(t, method, s.private, jwt.MapClaims{"sub": "a"})
					var want error
					if verifier != signer {
						want = tokenRefusal("invalid algorithm")
					}
					for _, a := range []*socketiojwt.Authorizer{static, callback} {
						if _, err := a.Verify(t.Context(), testRequest, raw); (err == nil) != (want == nil) || want != nil && !errors.Is(err, want) {
							t.Errorf("%s key in form %d, %s token: got %v, want %v", verifier, form, method.Alg(), err, want)
						}
					}
				}
			}
		}
	}
}

// Every asymmetric algorithm with a static key, as PEM and as Go's type, seen by a client.
func TestIdentityProvidersAlgorithms(t *testing.T) {
	t.Parallel()
	k := harness.Keys()
	for _, provider := range []struct {
		private crypto.Signer
		methods []jwt.SigningMethod
	}{
		{k.RSA, []jwt.SigningMethod{jwt.SigningMethodRS256, jwt.SigningMethodRS384, jwt.SigningMethodRS512, jwt.SigningMethodPS256, jwt.SigningMethodPS384, jwt.SigningMethodPS512}},
		{k.P256, []jwt.SigningMethod{jwt.SigningMethodES256}},
		{k.P384, []jwt.SigningMethod{jwt.SigningMethodES384}},
		{k.P521, []jwt.SigningMethod{jwt.SigningMethodES512}},
		{k.Ed25519, []jwt.SigningMethod{jwt.SigningMethodEdDSA}},
	} {
		public := provider.private.Public()
		for form, key := range map[string]any{"Go type": public, "PEM": harness.PublicPEM(t, public)} {
			for _, method := range provider.methods {
				t.Run(method.Alg()+", "+form, func(t *testing.T) {
					s := harness.Start(t, socketiojwt.Options{
						Secret:        socketiojwt.StaticSecret(key),
						Handshake:     true,
						Methods:       []string{method.Alg()},
						ParserOptions: []jwt.ParserOption{jwt.WithAudience("chat"), jwt.WithIssuer("https://issuer.example/"), jwt.WithExpirationRequired()},
					}, func(s *harness.App) {
						s.OnEvent("/", "whoami", func(c socketio.Conn) string {
							session, _ := s.Auth.Session(c)
							return session.Subject()
						})
					})
					raw := harness.Sign(t, method, provider.private, jwt.RegisteredClaims{
						Subject: "bob", Audience: jwt.ClaimStrings{"mail", "chat"}, Issuer: "https://issuer.example/",
						ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
					})
					_, must := s.Dial(t, siotest.Options{Query: harness.WithToken(raw)})
					must.NextRaw("40")
					if got := must.Call("/", "whoami").Raw; got != `430["bob"]` {
						t.Errorf("got %s", got)
					}
					dot := strings.LastIndex(raw, ".")
					forged := raw[:dot+1] + strings.Repeat("A", len(raw)-dot-1)
					_, must = s.Dial(t, siotest.Options{Query: harness.WithToken(forged)})
					must.NextRaw("44" + harness.Refusal("invalid_token", "invalid signature"))
				})
			}
		}
	}
}

func TestPublicKeysAreNeverHMACSecrets(t *testing.T) {
	t.Parallel()
	k := harness.Keys()
	text := harness.PublicPEM(t, &k.RSA.PublicKey)
	for name, secret := range map[string][]byte{
		"PEM":          []byte(text),
		"PEM, trimmed": []byte(strings.TrimSpace(text)),
		"Ed25519":      k.Ed25519Public,
		"RSA modulus":  k.RSA.N.Bytes(),
	} {
		raw := harness.Sign(t, jwt.SigningMethodHS256, secret, jwt.MapClaims{})
		for form, key := range []any{text, []byte(text), k.Ed25519Public, &k.Ed25519Public, &k.RSA.PublicKey} {
			for _, s := range []socketiojwt.Secret{socketiojwt.StaticSecret(key), harness.SecretReturning(key)} {
				_, err := harness.Authorize(t, socketiojwt.Options{Secret: s}).Verify(t.Context(), testRequest, raw)
				if !errors.Is(err, tokenRefusal("invalid algorithm")) {
					t.Errorf("%s as secret, key %d: got %v", name, form, err)
				}
			}
		}
	}
}

func TestMethodsNarrowWhatTheKeyAllows(t *testing.T) {
	t.Parallel()
	asked := false
	for name, secret := range map[string]socketiojwt.Secret{
		"static": socketiojwt.StaticSecret(harness.Secret),
		"callback": socketiojwt.SecretFunc(func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
			asked = true
			return harness.Secret, nil
		}),
	} {
		asked = false
		a := harness.Authorize(t, socketiojwt.Options{Secret: secret, Methods: []string{"HS512"}})
		_, err := a.Verify(t.Context(), testRequest, harness.SignHS256(t, jwt.MapClaims{}))
		checkRefusal(t, err, tokenRefusal("invalid algorithm"))
		if asked {
			t.Errorf("%s: the key was looked up for a method that is not accepted", name)
		}
		_, err = a.Verify(t.Context(), testRequest, harness.Sign(t, jwt.SigningMethodHS512, []byte(harness.Secret), jwt.MapClaims{}))
		checkRefusal(t, err, nil)
	}
}
