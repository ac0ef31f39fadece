package socketiojwt_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
)

const testSecret = "a secret of at least thirty-two bytes"

var testRequest = &socketiojwt.Request{Namespace: "/", RemoteAddr: "192.0.2.1:1234"}

func refusal(code, message string) error {
	return &socketiojwt.UnauthorizedError{Code: code, Message: message}
}

func tokenRefusal(message string) error {
	return refusal(socketiojwt.CodeInvalidToken, message)
}

var (
	secretUnavailable = refusal(socketiojwt.CodeInvalidSecret, "secret unavailable")
	notAccepted       = refusal(socketiojwt.CodeUnauthorized, "unauthorized")
)

func mustAuthorize(t testing.TB, opts socketiojwt.Options) *socketiojwt.Authorizer {
	t.Helper()
	if opts.Secret == nil {
		opts.Secret = socketiojwt.StaticSecret(testSecret)
	}
	a, err := socketiojwt.Authorize(opts)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func signWith(t testing.TB, method jwt.SigningMethod, key any, claims jwt.Claims) string {
	t.Helper()
	raw, err := jwt.NewWithClaims(method, claims).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func signHS256(t testing.TB, claims jwt.MapClaims) string {
	t.Helper()
	return signWith(t, jwt.SigningMethodHS256, []byte(testSecret), claims)
}

// signParts signs a header and a payload as they are, which need not be a JWT's.
func signParts(header, payload string) string {
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	sig, err := jwt.SigningMethodHS256.Sign(text, []byte(testSecret))
	if err != nil {
		panic(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// checkRefusal takes want == nil for "is accepted".
func checkRefusal(t *testing.T, err, want error) {
	t.Helper()
	switch {
	case want == nil && err != nil:
		t.Errorf("refused: %v", err)
	case want != nil && !errors.Is(err, want):
		t.Errorf("got %v, want %v", err, want)
	}
}

func logger(buf *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(buf, nil))
}

// keyPairs are made once: RSA keys take their time.
var keyPairs = sync.OnceValue(func() (k struct {
	rsa              *rsa.PrivateKey
	p256, p384, p521 *ecdsa.PrivateKey
	ed               ed25519.PrivateKey
	edPublic         ed25519.PublicKey
}) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	var err error
	k.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	k.p256, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	k.p384, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(err)
	k.p521, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	must(err)
	k.edPublic, k.ed, err = ed25519.GenerateKey(rand.Reader)
	must(err)
	return k
})

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func pemPublic(t testing.TB, key any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pemOf("PUBLIC KEY", der)
}

func fromBase64(text string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return b
}

// rfcTokens are the examples of RFC 7515, Appendix A.1 to A.3.
var rfcTokens = map[string]struct {
	key   any
	token string
}{
	"RFC 7515 A.1 HS256": {
		fromBase64("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"),
		"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
	},
	"RFC 7515 A.2 RS256": {
		&rsa.PublicKey{E: 65537, N: new(big.Int).SetBytes(fromBase64("ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"))},
		"eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
	},
	"RFC 7515 A.3 ES256": {
		&ecdsa.PublicKey{
			Curve: elliptic.P256(),
			X:     new(big.Int).SetBytes(fromBase64("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU")),
			Y:     new(big.Int).SetBytes(fromBase64("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0")),
		},
		"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
	},
}

// A.4 of RFC 8037 signs a text that is no JSON, so as a token it is malformed; its key
// and its signature are good.
const rfc8037Token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"

var rfc8037Key = ed25519.PublicKey(fromBase64("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"))

// eachFlip calls f with raw after every way to change one bit of one of its characters
// that leaves it in the base64url alphabet, or turns it into something else.
func eachFlip(raw string, f func(flipped string)) {
	for i := range len(raw) {
		for bit := range 7 {
			b := []byte(raw)
			b[i] ^= 1 << bit
			f(string(b))
		}
	}
}

func TestRFCTokensVerifyAndNoneWithAFlippedBitDoes(t *testing.T) {
	then := jwt.WithTimeFunc(func() time.Time { return time.Unix(1300819379, 0) })
	check := func(t *testing.T, key any, raw string) {
		a := mustAuthorize(t, socketiojwt.Options{Secret: socketiojwt.StaticSecret(key), ParserOptions: []jwt.ParserOption{then}})
		_, err := a.Verify(t.Context(), testRequest, raw)
		checkRefusal(t, err, nil)
		eachFlip(raw, func(flipped string) {
			if _, err := a.Verify(t.Context(), testRequest, flipped); err == nil {
				t.Errorf("verifies: %s", flipped)
			}
		})
	}
	for name, tc := range rfcTokens {
		t.Run(name, func(t *testing.T) { check(t, tc.key, tc.token) })
	}
	t.Run("RFC 8037 A.1 EdDSA", func(t *testing.T) {
		private := ed25519.NewKeyFromSeed(fromBase64("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"))
		check(t, rfc8037Key, signWith(t, jwt.SigningMethodEdDSA, private, jwt.MapClaims{"sub": "a"}))
	})
	t.Run("RFC 8037 A.4 EdDSA", func(t *testing.T) {
		parts := strings.Split(rfc8037Token, ".")
		if err := jwt.SigningMethodEdDSA.Verify(parts[0]+"."+parts[1], fromBase64(parts[2]), rfc8037Key); err != nil {
			t.Error(err)
		}
		a := mustAuthorize(t, socketiojwt.Options{Secret: socketiojwt.StaticSecret(rfc8037Key)})
		_, err := a.Verify(t.Context(), testRequest, rfc8037Token)
		checkRefusal(t, err, tokenRefusal("jwt malformed"))
	})
}

func TestRFCTokenIsExpiredToday(t *testing.T) {
	tc := rfcTokens["RFC 7515 A.1 HS256"]
	a := mustAuthorize(t, socketiojwt.Options{Secret: socketiojwt.StaticSecret(tc.key)})
	_, err := a.Verify(t.Context(), testRequest, tc.token)
	checkRefusal(t, err, tokenRefusal("jwt expired"))
	if !errors.Is(err, jwt.ErrTokenExpired) {
		t.Errorf("%v does not wrap golang-jwt's error", err)
	}
}

func TestEveryShapeOfATokenIsRefusedAsNodeDoes(t *testing.T) {
	good := signHS256(t, jwt.MapClaims{"sub": "a"})
	parts := strings.Split(good, ".")
	const hs256 = `{"alg":"HS256"}`

	for name, tc := range map[string]struct {
		raw  string
		want error
	}{
		"good":                   {good, nil},
		"empty":                  {"", tokenRefusal("jwt malformed")},
		"one part":               {"abc", tokenRefusal("jwt malformed")},
		"two parts":              {parts[0] + "." + parts[1], tokenRefusal("jwt malformed")},
		"four parts":             {good + ".a", tokenRefusal("jwt malformed")},
		"three dots":             {good + ".", tokenRefusal("jwt malformed")},
		"only dots":              {"..", tokenRefusal("jwt signature is required")},
		"no signature":           {parts[0] + "." + parts[1] + ".", tokenRefusal("jwt signature is required")},
		"blank signature":        {parts[0] + "." + parts[1] + ". \t", tokenRefusal("jwt signature is required")},
		"header not base64":      {"!." + parts[1] + "." + parts[2], tokenRefusal("jwt malformed")},
		"payload not base64":     {parts[0] + ".eyJ!." + parts[2], tokenRefusal("jwt malformed")},
		"signature not base64":   {parts[0] + "." + parts[1] + ".!!!!", tokenRefusal("jwt malformed")},
		"header not JSON":        {signParts(`{"alg":`, `{}`), tokenRefusal("jwt malformed")},
		"payload not JSON":       {signParts(hs256, `{"sub"`), tokenRefusal("jwt malformed")},
		"header null":            {signParts(`null`, `{}`), tokenRefusal("jwt malformed")},
		"header array":           {signParts(`["HS256"]`, `{}`), tokenRefusal("jwt malformed")},
		"payload null":           {signParts(hs256, `null`), tokenRefusal("jwt malformed")},
		"payload null, indented": {signParts(hs256, " \t\r\n null "), tokenRefusal("jwt malformed")},
		"payload array":          {signParts(hs256, `[]`), tokenRefusal("jwt malformed")},
		"payload string":         {signParts(hs256, `"{}"`), tokenRefusal("jwt malformed")},
		"payload number":         {signParts(hs256, `1`), tokenRefusal("jwt malformed")},
		"payload empty":          {signParts(hs256, ``), tokenRefusal("jwt malformed")},
		"payload blank":          {signParts(hs256, ` `), tokenRefusal("jwt malformed")},
		"payload indented":       {signParts(hs256, "\r\n    {}\n"), nil},
		"no alg":                 {signParts(`{}`, `{}`), tokenRefusal("invalid algorithm")},
		"alg not a string":       {signParts(`{"alg":256}`, `{}`), tokenRefusal("invalid algorithm")},
		"alg unknown":            {signParts(`{"alg":"HS1"}`, `{}`), tokenRefusal("invalid algorithm")},
		"alg in lower case":      {signParts(`{"alg":"hs256"}`, `{}`), tokenRefusal("invalid algorithm")},
		"alg none":               {signParts(`{"alg":"none"}`, `{}`), tokenRefusal("invalid algorithm")},
		"alg None":               {signParts(`{"alg":"None"}`, `{}`), tokenRefusal("invalid algorithm")},
		"alg of another family":  {signParts(`{"alg":"RS256"}`, `{}`), tokenRefusal("invalid algorithm")},
		"crit unknown":           {signParts(`{"alg":"HS256","crit":["exp"]}`, `{}`), tokenRefusal("invalid algorithm")},
		"crit b64":               {signParts(`{"alg":"HS256","crit":["b64"],"b64":false}`, `{}`), tokenRefusal("invalid algorithm")},
		"crit null":              {signParts(`{"alg":"HS256","crit":null}`, `{}`), tokenRefusal("invalid algorithm")},
		"other signature":        {parts[0] + "." + parts[1] + "." + strings.Split(signHS256(t, jwt.MapClaims{}), ".")[2], tokenRefusal("invalid signature")},
		"short signature":        {parts[0] + "." + parts[1] + ".AAAA", tokenRefusal("invalid signature")},
		"line break in it":       {parts[0] + "." + parts[1] + "." + parts[2][:8] + "\n" + parts[2][8:], tokenRefusal("invalid signature")},
		"padded":                 {good + "=", tokenRefusal("jwt malformed")},
		"other secret":           {signWith(t, jwt.SigningMethodHS256, []byte("other"), jwt.MapClaims{}), tokenRefusal("invalid signature")},
		"empty secret":           {signWith(t, jwt.SigningMethodHS256, []byte{}, jwt.MapClaims{}), tokenRefusal("invalid signature")},
		"exp a string":           {signHS256(t, jwt.MapClaims{"exp": "4000000000"}), tokenRefusal("jwt malformed")},
		"exp null":               {signHS256(t, jwt.MapClaims{"exp": nil}), tokenRefusal("jwt malformed")},
		"exp 0":                  {signHS256(t, jwt.MapClaims{"exp": 0}), tokenRefusal("jwt expired")},
		"exp past":               {signHS256(t, jwt.MapClaims{"exp": 1}), tokenRefusal("jwt expired")},
		"nbf a string":           {signHS256(t, jwt.MapClaims{"nbf": "1"}), tokenRefusal("jwt malformed")},
		"nbf in the future":      {signHS256(t, jwt.MapClaims{"nbf": 4000000000}), tokenRefusal("jwt not active")},
		"sub an object":          {signHS256(t, jwt.MapClaims{"sub": map[string]any{}}), tokenRefusal("jwt malformed")},
		"sub a number":           {signHS256(t, jwt.MapClaims{"sub": 42}), nil},
		"too long":               {signHS256(t, jwt.MapClaims{"x": strings.Repeat("x", 8<<10)}), tokenRefusal("jwt too long")},
		"too long and malformed": {strings.Repeat(".", 8<<10+1), tokenRefusal("jwt too long")},
	} {
		t.Run(name, func(t *testing.T) {
			for _, newClaims := range []func() jwt.Claims{nil, func() jwt.Claims { return &jwt.MapClaims{} }} {
				_, err := mustAuthorize(t, socketiojwt.Options{NewClaims: newClaims}).Verify(t.Context(), testRequest, tc.raw)
				checkRefusal(t, err, tc.want)
			}
		})
	}
}

func TestNullClaimsAreRefusedForStructsToo(t *testing.T) {
	a := mustAuthorize(t, socketiojwt.Options{NewClaims: func() jwt.Claims { return &jwt.RegisteredClaims{} }})
	_, err := a.Verify(t.Context(), testRequest, signParts(`{"alg":"HS256"}`, `null`))
	checkRefusal(t, err, tokenRefusal("jwt malformed"))
	_, err = a.Verify(t.Context(), testRequest, signHS256(t, jwt.MapClaims{"exp": "soon"}))
	checkRefusal(t, err, tokenRefusal("jwt malformed"))
}

func TestTokensOfMaxTokenBytesAreRead(t *testing.T) {
	raw := signHS256(t, jwt.MapClaims{})
	for limit, want := range map[int]error{len(raw): nil, len(raw) - 1: tokenRefusal("jwt too long")} {
		a := mustAuthorize(t, socketiojwt.Options{MaxTokenBytes: limit})
		_, err := a.Verify(t.Context(), testRequest, raw)
		checkRefusal(t, err, want)
	}
}

func TestFailedClaimsAreReportedInNodesOrder(t *testing.T) {
	opts := func(o ...jwt.ParserOption) []jwt.ParserOption { return o }
	all := opts(jwt.WithAudience("a"), jwt.WithIssuer("i"), jwt.WithSubject("s"), jwt.WithExpirationRequired(), jwt.WithNotBeforeRequired(), jwt.WithIssuedAt())
	const past, future = 1, 4000000000
	for name, tc := range map[string]struct {
		options []jwt.ParserOption
		claims  jwt.MapClaims
		want    error
	}{
		"all good":              {all, jwt.MapClaims{"nbf": past, "exp": future, "aud": "a", "iss": "i", "sub": "s"}, nil},
		"everything wrong":      {all, jwt.MapClaims{"nbf": future, "exp": past, "aud": "x", "iss": "x", "sub": "x"}, tokenRefusal("jwt not active")},
		"all but nbf wrong":     {all, jwt.MapClaims{"nbf": past, "exp": past, "aud": "x", "iss": "x", "sub": "x"}, tokenRefusal("jwt expired")},
		"aud, iss, sub wrong":   {all, jwt.MapClaims{"nbf": past, "exp": future, "aud": "x", "iss": "x", "sub": "x"}, tokenRefusal("jwt audience invalid")},
		"iss and sub wrong":     {all, jwt.MapClaims{"nbf": past, "exp": future, "aud": "a", "iss": "x", "sub": "x"}, tokenRefusal("jwt issuer invalid")},
		"sub wrong":             {all, jwt.MapClaims{"nbf": past, "exp": future, "aud": "a", "iss": "i", "sub": "x"}, tokenRefusal("jwt subject invalid")},
		"sub wrong, exp absent": {all, jwt.MapClaims{"nbf": past, "aud": "a", "iss": "i", "sub": "x"}, tokenRefusal("jwt subject invalid")},
		"exp absent":            {all, jwt.MapClaims{"nbf": past, "aud": "a", "iss": "i", "sub": "s"}, tokenRefusal("jwt claim required")},
		"iat in the future":     {all, jwt.MapClaims{"iat": future, "nbf": past, "exp": past}, tokenRefusal("jwt not active")},
		"type before the rest":  {all, jwt.MapClaims{"nbf": future, "exp": "x"}, tokenRefusal("jwt malformed")},
		"leeway":                {opts(jwt.WithLeeway(time.Hour)), jwt.MapClaims{"exp": time.Now().Add(-time.Minute).Unix()}, nil},
		"aud in a list":         {opts(jwt.WithAudience("b", "a")), jwt.MapClaims{"aud": []string{"x", "a"}}, nil},
		"methods of the user":   {opts(jwt.WithValidMethods([]string{"HS512"})), jwt.MapClaims{}, tokenRefusal("invalid algorithm")},
	} {
		t.Run(name, func(t *testing.T) {
			a := mustAuthorize(t, socketiojwt.Options{ParserOptions: tc.options})
			_, err := a.Verify(t.Context(), testRequest, signHS256(t, tc.claims))
			checkRefusal(t, err, tc.want)
		})
	}
}

func TestTokenExpiresAtItsSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := mustAuthorize(t, socketiojwt.Options{})
		exp := time.Now().Add(time.Minute).Truncate(time.Second)
		raw := signHS256(t, jwt.MapClaims{"exp": exp.Unix()})
		session, err := a.Verify(t.Context(), testRequest, raw)
		checkRefusal(t, err, nil)
		if !session.ExpiresAt().Equal(exp) {
			t.Errorf("ExpiresAt() = %v, want %v", session.ExpiresAt(), exp)
		}
		time.Sleep(time.Until(exp) - time.Nanosecond)
		_, err = a.Verify(t.Context(), testRequest, raw)
		checkRefusal(t, err, nil)
		time.Sleep(time.Nanosecond)
		_, err = a.Verify(t.Context(), testRequest, raw)
		checkRefusal(t, err, tokenRefusal("jwt expired"))
	})
}

func TestSessionIsWhatTheTokenSays(t *testing.T) {
	a := mustAuthorize(t, socketiojwt.Options{Accept: func(_ context.Context, _ *socketiojwt.Request, token *jwt.Token) (any, error) {
		if !token.Valid {
			t.Error("Accept got a token that is not marked valid")
		}
		return "the user", nil
	}})
	raw := signHS256(t, jwt.MapClaims{"sub": "alice", "role": "admin"})
	s, err := a.Verify(t.Context(), testRequest, raw)
	if err != nil {
		t.Fatal(err)
	}
	if s.Subject() != "alice" || s.User() != "the user" || s.RawToken() != raw || s.AuthenticatedAt().IsZero() || !s.ExpiresAt().IsZero() {
		t.Errorf("got %q %v %q %v %v", s.Subject(), s.User(), s.RawToken(), s.AuthenticatedAt(), s.ExpiresAt())
	}
	if role := s.Claims().(jwt.MapClaims)["role"]; role != "admin" || s.Token().Raw != raw {
		t.Errorf("got role %v, token %q", role, s.Token().Raw)
	}
	// Neither the token nor the connection's id, which is as good as one.
	if text := fmt.Sprintf("%v %+v", s, s); text != `session of "alice" session of "alice"` {
		t.Errorf("a session is printed as %s", text)
	}
}

func TestNumericSubjectsStayDifferent(t *testing.T) {
	const large = "9007199254740993" // the first integer that is no float64
	for sub, want := range map[any]string{42: "42", -1.5: "-1.5", "42": "42", json.Number("7"): "7", large: large, json.Number(large): large} {
		for name, options := range map[string][]jwt.ParserOption{"float64": nil, "json.Number": {jwt.WithJSONNumber()}} {
			s, err := mustAuthorize(t, socketiojwt.Options{ParserOptions: options}).Verify(t.Context(), testRequest, signHS256(t, jwt.MapClaims{"sub": sub}))
			if options == nil && sub == json.Number(large) {
				checkRefusal(t, err, tokenRefusal("jwt malformed"))
			} else if err != nil || s.Subject() != want {
				t.Errorf("%s: %v: got %v, %v", name, sub, s, err)
			}
		}
	}
}

func TestAKeyOnlyMeetsTheAlgorithmsOfItsKind(t *testing.T) {
	k := keyPairs()
	certificate, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, &k.rsa.PublicKey, k.rsa)
	if err != nil {
		t.Fatal(err)
	}
	rsaPEM := pemPublic(t, &k.rsa.PublicKey)

	families := map[string]struct {
		public  []any // the same key in every form it may have
		private any
		methods []jwt.SigningMethod
	}{
		"HMAC": {
			[]any{testSecret, []byte(testSecret)}, []byte(testSecret),
			[]jwt.SigningMethod{jwt.SigningMethodHS256, jwt.SigningMethodHS384, jwt.SigningMethodHS512},
		},
		"RSA": {
			[]any{
				&k.rsa.PublicKey, k.rsa.PublicKey, rsaPEM, []byte(rsaPEM),
				pemOf("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&k.rsa.PublicKey)),
				pemOf("CERTIFICATE", certificate), pemOf("CERTIFICATE", certificate) + pemOf("CERTIFICATE", certificate),
				strings.ReplaceAll("\n\n "+rsaPEM, "\n", "\r\n\t"), "Some words before.\n" + strings.TrimSpace(rsaPEM),
			}, k.rsa,
			[]jwt.SigningMethod{jwt.SigningMethodRS256, jwt.SigningMethodRS384, jwt.SigningMethodRS512, jwt.SigningMethodPS256, jwt.SigningMethodPS384, jwt.SigningMethodPS512},
		},
		"P-256":   {[]any{&k.p256.PublicKey, pemPublic(t, &k.p256.PublicKey)}, k.p256, []jwt.SigningMethod{jwt.SigningMethodES256}},
		"P-384":   {[]any{&k.p384.PublicKey, pemPublic(t, &k.p384.PublicKey)}, k.p384, []jwt.SigningMethod{jwt.SigningMethodES384}},
		"P-521":   {[]any{&k.p521.PublicKey, pemPublic(t, &k.p521.PublicKey)}, k.p521, []jwt.SigningMethod{jwt.SigningMethodES512}},
		"Ed25519": {[]any{k.edPublic, &k.edPublic, pemPublic(t, k.edPublic)}, k.ed, []jwt.SigningMethod{jwt.SigningMethodEdDSA}},
	}
	for verifier, v := range families {
		for form, key := range v.public {
			static := mustAuthorize(t, socketiojwt.Options{Secret: socketiojwt.StaticSecret(key)})
			callback := mustAuthorize(t, socketiojwt.Options{Secret: secretReturning(key)})
			for signer, s := range families {
				for _, method := range s.methods {
					raw := signWith(t, method, s.private, jwt.MapClaims{"sub": "a"})
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
	k := keyPairs()
	for _, provider := range []struct {
		private crypto.Signer
		methods []jwt.SigningMethod
	}{
		{k.rsa, []jwt.SigningMethod{jwt.SigningMethodRS256, jwt.SigningMethodRS384, jwt.SigningMethodRS512, jwt.SigningMethodPS256, jwt.SigningMethodPS384, jwt.SigningMethodPS512}},
		{k.p256, []jwt.SigningMethod{jwt.SigningMethodES256}},
		{k.p384, []jwt.SigningMethod{jwt.SigningMethodES384}},
		{k.p521, []jwt.SigningMethod{jwt.SigningMethodES512}},
		{k.ed, []jwt.SigningMethod{jwt.SigningMethodEdDSA}},
	} {
		public := provider.private.Public()
		for form, key := range map[string]any{"Go type": public, "PEM": pemPublic(t, public)} {
			for _, method := range provider.methods {
				t.Run(method.Alg()+", "+form, func(t *testing.T) {
					s := start(t, socketiojwt.Options{
						Secret:        socketiojwt.StaticSecret(key),
						Handshake:     true,
						Methods:       []string{method.Alg()},
						ParserOptions: []jwt.ParserOption{jwt.WithAudience("chat"), jwt.WithIssuer("https://issuer.example/"), jwt.WithExpirationRequired()},
					}, func(s *testServer) {
						s.OnEvent("/", "whoami", func(c socketio.Conn) string {
							session, _ := s.auth.Session(c)
							return session.Subject()
						})
					})
					raw := signWith(t, method, provider.private, jwt.RegisteredClaims{
						Subject: "bob", Audience: jwt.ClaimStrings{"mail", "chat"}, Issuer: "https://issuer.example/",
						ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
					})
					_, must := s.dial(t, siotest.Options{Query: withToken(raw)})
					must.NextRaw("40")
					if got := must.Call("/", "whoami").Raw; got != `430["bob"]` {
						t.Errorf("got %s", got)
					}
					dot := strings.LastIndex(raw, ".")
					forged := raw[:dot+1] + strings.Repeat("A", len(raw)-dot-1)
					_, must = s.dial(t, siotest.Options{Query: withToken(forged)})
					must.NextRaw("44" + e("invalid_token", "invalid signature"))
				})
			}
		}
	}
}

func TestPublicKeysAreNeverHMACSecrets(t *testing.T) {
	k := keyPairs()
	text := pemPublic(t, &k.rsa.PublicKey)
	for name, secret := range map[string][]byte{
		"PEM":          []byte(text),
		"PEM, trimmed": []byte(strings.TrimSpace(text)),
		"Ed25519":      k.edPublic,
		"RSA modulus":  k.rsa.N.Bytes(),
	} {
		raw := signWith(t, jwt.SigningMethodHS256, secret, jwt.MapClaims{})
		for form, key := range []any{text, []byte(text), k.edPublic, &k.edPublic, &k.rsa.PublicKey} {
			for _, s := range []socketiojwt.Secret{socketiojwt.StaticSecret(key), secretReturning(key)} {
				_, err := mustAuthorize(t, socketiojwt.Options{Secret: s}).Verify(t.Context(), testRequest, raw)
				if !errors.Is(err, tokenRefusal("invalid algorithm")) {
					t.Errorf("%s as secret, key %d: got %v", name, form, err)
				}
			}
		}
	}
}

func TestMethodsNarrowWhatTheKeyAllows(t *testing.T) {
	asked := false
	for name, secret := range map[string]socketiojwt.Secret{
		"static": socketiojwt.StaticSecret(testSecret),
		"callback": socketiojwt.SecretFunc(func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
			asked = true
			return testSecret, nil
		}),
	} {
		asked = false
		a := mustAuthorize(t, socketiojwt.Options{Secret: secret, Methods: []string{"HS512"}})
		_, err := a.Verify(t.Context(), testRequest, signHS256(t, jwt.MapClaims{}))
		checkRefusal(t, err, tokenRefusal("invalid algorithm"))
		if asked {
			t.Errorf("%s: the key was looked up for a method that is not accepted", name)
		}
		_, err = a.Verify(t.Context(), testRequest, signWith(t, jwt.SigningMethodHS512, []byte(testSecret), jwt.MapClaims{}))
		checkRefusal(t, err, nil)
	}
}

func TestKeySetsVerifyWithAnyKeyThatFits(t *testing.T) {
	k := keyPairs()
	set := jwt.VerificationKeySet{Keys: []jwt.VerificationKey{"an old secret of thirty-two bytes or so", testSecret, &k.rsa.PublicKey, k.edPublic}}
	for name, secret := range map[string]socketiojwt.Secret{
		"static":   socketiojwt.StaticSecret(set),
		"callback": secretReturning(set),
		"keyfunc":  socketiojwt.Keyfunc(func(*jwt.Token) (any, error) { return set, nil }),
		"wrapped": socketiojwt.SecretFunc(func(ctx context.Context, r *socketiojwt.Request, token *jwt.Token) (any, error) {
			return socketiojwt.StaticSecret(set).Key(ctx, r, token)
		}),
	} {
		t.Run(name, func(t *testing.T) {
			a := mustAuthorize(t, socketiojwt.Options{Secret: secret})
			for _, tc := range []struct {
				method jwt.SigningMethod
				key    any
				want   error
			}{
				{jwt.SigningMethodHS256, []byte(testSecret), nil},
				{jwt.SigningMethodHS256, []byte("an old secret of thirty-two bytes or so"), nil},
				{jwt.SigningMethodHS256, []byte("another"), tokenRefusal("invalid signature")},
				{jwt.SigningMethodHS256, []byte(k.edPublic), tokenRefusal("invalid signature")},
				{jwt.SigningMethodPS256, k.rsa, nil},
				{jwt.SigningMethodEdDSA, k.ed, nil},
				{jwt.SigningMethodES256, k.p256, tokenRefusal("invalid algorithm")},
			} {
				_, err := a.Verify(t.Context(), testRequest, signWith(t, tc.method, tc.key, jwt.MapClaims{}))
				checkRefusal(t, err, tc.want)
			}
		})
	}
}

func secretReturning(key any) socketiojwt.Secret {
	return socketiojwt.SecretFunc(func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) { return key, nil })
}

func TestSecretsThatGiveNoUsableKeyAreUnavailableAndLogged(t *testing.T) {
	k := keyPairs()
	smallPrime := new(big.Int).SetInt64(65537)
	typedNil := func() error { var e *socketiojwt.UnauthorizedError; return e }
	fails := func(err error) socketiojwt.Secret {
		return socketiojwt.SecretFunc(func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
			return []byte(testSecret), err
		})
	}
	for name, secret := range map[string]socketiojwt.Secret{
		"nil":                 secretReturning(nil),
		"empty string":        secretReturning(""),
		"empty bytes":         secretReturning([]byte{}),
		"nil bytes":           secretReturning([]byte(nil)),
		"empty set":           secretReturning(jwt.VerificationKeySet{}),
		"set of nothing":      secretReturning(jwt.VerificationKeySet{Keys: []jwt.VerificationKey{nil, ""}}),
		"set in a set":        secretReturning(jwt.VerificationKeySet{Keys: []jwt.VerificationKey{jwt.VerificationKeySet{}}}),
		"RSA private key":     secretReturning(k.rsa),
		"ECDSA private key":   secretReturning(k.p256),
		"Ed25519 private key": secretReturning(k.ed),
		"private PEM":         secretReturning(pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(k.rsa))),
		"broken PEM":          secretReturning("-----BEGIN PUBLIC KEY-----\nAAAA"),
		"nil RSA key":         secretReturning((*rsa.PublicKey)(nil)),
		"zero RSA key":        secretReturning(&rsa.PublicKey{}),
		"tiny RSA key":        secretReturning(&rsa.PublicKey{N: smallPrime, E: 65537}),
		"nil ECDSA key":       secretReturning((*ecdsa.PublicKey)(nil)),
		"zero ECDSA key":      secretReturning(&ecdsa.PublicKey{}),
		"ECDSA key off curve": secretReturning(&ecdsa.PublicKey{Curve: elliptic.P256(), X: smallPrime, Y: smallPrime}),
		"short Ed25519 key":   secretReturning(ed25519.PublicKey("short")),
		"nil Ed25519 key":     secretReturning((*ed25519.PublicKey)(nil)),
		"none's magic value":  secretReturning(jwt.UnsafeAllowNoneSignatureType),
		"number":              secretReturning(42),
		"error":               fails(errors.New("no database")),
		"typed nil error":     fails(typedNil()),
		"nil error of theirs": fails((*theirError)(nil)),
		"panic":               socketiojwt.Keyfunc(func(*jwt.Token) (any, error) { panic(testSecret) }),
		"nil dereference":     socketiojwt.Keyfunc(func(*jwt.Token) (any, error) { return *(*string)(nil), nil }),
		"goexit":              socketiojwt.Keyfunc(func(*jwt.Token) (any, error) { runtime.Goexit(); return nil, nil }),
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			a := mustAuthorize(t, socketiojwt.Options{Secret: secret, Logger: logger(&log)})
			raw := signHS256(t, jwt.MapClaims{"sub": "alice"})
			_, err := a.Verify(t.Context(), testRequest, raw)
			checkRefusal(t, err, secretUnavailable)
			if !strings.Contains(log.String(), "callback=Secret") || !strings.Contains(log.String(), "error=") {
				t.Errorf("not logged: %s", &log)
			}
			for _, private := range []string{testSecret, raw, "alice"} {
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
	var log bytes.Buffer
	set := jwt.VerificationKeySet{Keys: []jwt.VerificationKey{"", nil, 42, keyPairs().rsa, testSecret}}
	a := mustAuthorize(t, socketiojwt.Options{Secret: secretReturning(set), Logger: logger(&log)})
	_, err := a.Verify(t.Context(), testRequest, signHS256(t, jwt.MapClaims{}))
	checkRefusal(t, err, nil)
	_, err = a.Verify(t.Context(), testRequest, signWith(t, jwt.SigningMethodHS256, []byte{}, jwt.MapClaims{}))
	checkRefusal(t, err, tokenRefusal("invalid signature"))
	if !strings.Contains(log.String(), "key 0 of the set") {
		t.Errorf("not logged: %s", &log)
	}
}

func TestCallbacksDecideWhatTheClientIsTold(t *testing.T) {
	typedNil := func() error { var e *socketiojwt.UnauthorizedError; return e }
	custom := func(code, message string) error {
		return fmt.Errorf("wrapped: %w", &socketiojwt.UnauthorizedError{Code: code, Message: message})
	}
	for name, tc := range map[string]struct {
		err                error
		fromSecret, fromAc error
		logged             bool
	}{
		"both":         {custom("banned", "go away"), refusal("banned", "go away"), refusal("banned", "go away"), false},
		"code only":    {custom("banned", ""), refusal("banned", "secret unavailable"), refusal("banned", "unauthorized"), false},
		"message only": {custom("", "go away"), refusal("invalid_secret", "go away"), refusal("unauthorized", "go away"), false},
		"neither":      {custom("", ""), secretUnavailable, notAccepted, false},
		"typed nil":    {typedNil(), secretUnavailable, notAccepted, true},
		"wrapped nil":  {fmt.Errorf("wrapped: %w", typedNil()), secretUnavailable, notAccepted, true},
		"other":        {errors.New("internal text"), secretUnavailable, notAccepted, true},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			raw := signHS256(t, jwt.MapClaims{})
			fail := func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) { return "user", tc.err }
			_, err := mustAuthorize(t, socketiojwt.Options{Secret: socketiojwt.SecretFunc(fail), Logger: logger(&log)}).Verify(t.Context(), testRequest, raw)
			checkRefusal(t, err, tc.fromSecret)
			_, err = mustAuthorize(t, socketiojwt.Options{Accept: fail, Logger: logger(&log)}).Verify(t.Context(), testRequest, raw)
			checkRefusal(t, err, tc.fromAc)
			if logged := log.Len() > 0; logged != tc.logged {
				t.Errorf("logged = %v: %s", logged, &log)
			}
			if e := new(socketiojwt.UnauthorizedError); errors.As(tc.err, &e) && e != nil && errors.As(err, new(*socketiojwt.UnauthorizedError)) && err == error(e) {
				t.Error("the refusal is the callback's own error, which it may change later")
			}
			text, _ := json.Marshal(err)
			if strings.Contains(string(text), "internal") {
				t.Errorf("the client is told %s", text)
			}
		})
	}
}

func TestAcceptIsAskedOnlyAboutGoodTokensAndMayPanic(t *testing.T) {
	var log bytes.Buffer
	calls := 0
	a := mustAuthorize(t, socketiojwt.Options{Logger: logger(&log), Accept: func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
		calls++
		panic("alice")
	}})
	for raw, want := range map[string]error{
		signHS256(t, jwt.MapClaims{"exp": 1}):                                        tokenRefusal("jwt expired"),
		signWith(t, jwt.SigningMethodHS256, []byte("other"), jwt.MapClaims{}):        tokenRefusal("invalid signature"),
		signWith(t, jwt.SigningMethodHS512, []byte(testSecret), jwt.MapClaims{}):     notAccepted,
		signWith(t, jwt.SigningMethodRS256, keyPairs().rsa, jwt.MapClaims{"a": "b"}): tokenRefusal("invalid algorithm"),
	} {
		_, err := a.Verify(t.Context(), testRequest, raw)
		checkRefusal(t, err, want)
	}
	if calls != 1 {
		t.Errorf("Accept was called %d times, want 1", calls)
	}
	if got := log.String(); !strings.Contains(got, "level=ERROR") || !strings.Contains(got, "stack=") || strings.Contains(got, "alice") {
		t.Errorf("log: %s", got)
	}
}

func TestVerificationEndsWithItsContext(t *testing.T) {
	forever := func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
		time.Sleep(time.Hour)
		return testSecret, nil
	}
	for name, tc := range map[string]struct {
		opts socketiojwt.Options
		want error
	}{
		"Secret":  {socketiojwt.Options{Secret: socketiojwt.SecretFunc(forever)}, secretUnavailable},
		"Keyfunc": {socketiojwt.Options{Secret: socketiojwt.Keyfunc(func(*jwt.Token) (any, error) { return forever(nil, nil, nil) })}, secretUnavailable},
		"Accept":  {socketiojwt.Options{Accept: forever}, &socketiojwt.UnauthorizedError{Code: "server_busy", Message: "server busy"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				tc.opts.Logger = logger(&log)
				a := mustAuthorize(t, tc.opts)
				start := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				_, err := a.Verify(ctx, testRequest, signHS256(t, jwt.MapClaims{}))
				checkRefusal(t, err, tc.want)
				if d := time.Since(start); d != 5*time.Second {
					t.Errorf("took %v", d)
				}
				if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(log.String(), "deadline exceeded") {
					t.Errorf("got %v, log: %s", errors.Unwrap(err), &log)
				}
				time.Sleep(2 * time.Hour) // the abandoned callback ends, and nobody minds
			})
		})
	}
}

func TestCallbacksAreNotStartedAfterTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	called := func(context.Context, *socketiojwt.Request, *jwt.Token) (any, error) {
		t.Error("called")
		return testSecret, nil
	}
	raw := signHS256(t, jwt.MapClaims{})
	_, err := mustAuthorize(t, socketiojwt.Options{Secret: socketiojwt.SecretFunc(called)}).Verify(ctx, testRequest, raw)
	checkRefusal(t, err, secretUnavailable)
	_, err = mustAuthorize(t, socketiojwt.Options{Accept: called}).Verify(ctx, testRequest, raw)
	checkRefusal(t, err, notAccepted)
}

func TestSecretSeesTheRequestAndTheTokenAndCannotChangeTheVerdict(t *testing.T) {
	k := keyPairs()
	forged := signWith(t, jwt.SigningMethodHS256, []byte(pemPublic(t, &k.rsa.PublicKey)), jwt.MapClaims{"sub": "a"})
	for name, meddle := range map[string]func(*jwt.Token) any{
		"method and alg": func(token *jwt.Token) any {
			token.Method, token.Header["alg"], token.Valid = jwt.SigningMethodRS256, "RS256", true
			return &k.rsa.PublicKey
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
			a := mustAuthorize(t, socketiojwt.Options{Secret: socketiojwt.SecretFunc(func(_ context.Context, r *socketiojwt.Request, token *jwt.Token) (any, error) {
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
	a := mustAuthorize(t, socketiojwt.Options{Secret: socketiojwt.Keyfunc(func(token *jwt.Token) (any, error) {
		delete(token.Claims.(jwt.MapClaims), "exp")
		token.Header["alg"] = "none"
		clear(token.Signature)
		return testSecret, nil
	})})
	_, err := a.Verify(t.Context(), testRequest, signHS256(t, jwt.MapClaims{"exp": 1}))
	checkRefusal(t, err, tokenRefusal("jwt expired"))

	raw := signHS256(t, jwt.MapClaims{"exp": 4000000000})
	session, err := a.Verify(t.Context(), testRequest, raw)
	if err != nil {
		t.Fatal(err)
	}
	token := session.Token()
	if signature := base64.RawURLEncoding.EncodeToString(token.Signature); token.Header["alg"] != "HS256" || !strings.HasSuffix(raw, signature) {
		t.Errorf("got alg %v, signature %s", token.Header["alg"], signature)
	}
}

// trickyClaims fails in the way its field says.
type trickyClaims struct {
	jwt.RegisteredClaims
	Trick string `json:"trick"`
}

func (c *trickyClaims) Validate() error {
	switch c.Trick {
	case "panic":
		panic(c.Trick)
	case "error":
		return errors.New("internal text")
	case "refuse":
		return refusal("banned", "go away")
	case "nil":
		return (*socketiojwt.UnauthorizedError)(nil)
	}
	return nil
}

func (c *trickyClaims) GetSubject() (string, error) {
	if c.Trick == "subject" {
		panic(c.Trick)
	}
	return c.Subject, nil
}

func TestTroubleInTheClaimsTypeIsARefusal(t *testing.T) {
	tricky := func() jwt.Claims { return &trickyClaims{} }
	for name, tc := range map[string]struct {
		newClaims func() jwt.Claims
		trick     string
		want      error
		logged    bool
	}{
		"fine":               {tricky, "", nil, false},
		"Validate panics":    {tricky, "panic", notAccepted, true},
		"Validate fails":     {tricky, "error", notAccepted, false},
		"Validate refuses":   {tricky, "refuse", refusal("banned", "go away"), false},
		"Validate typed nil": {tricky, "nil", notAccepted, false},
		"GetSubject panics":  {tricky, "subject", notAccepted, true},
		"NewClaims nil":      {func() jwt.Claims { return nil }, "", notAccepted, true},
		"NewClaims nil map":  {func() jwt.Claims { return jwt.MapClaims(nil) }, "", notAccepted, true},
		"NewClaims nil type": {func() jwt.Claims { return (*trickyClaims)(nil) }, "", notAccepted, true},
		"NewClaims panics":   {func() jwt.Claims { panic("now") }, "", notAccepted, true},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			a := mustAuthorize(t, socketiojwt.Options{NewClaims: tc.newClaims, Logger: logger(&log)})
			_, err := a.Verify(t.Context(), testRequest, signHS256(t, jwt.MapClaims{"trick": tc.trick}))
			checkRefusal(t, err, tc.want)
			if logged := strings.Contains(log.String(), "callback=NewClaims"); logged != tc.logged {
				t.Errorf("logged = %v: %s", logged, &log)
			}
		})
	}
}

func TestAlgorithmsAreCheckedUnderConcurrency(t *testing.T) {
	k := keyPairs()
	a := mustAuthorize(t, socketiojwt.Options{Secret: socketiojwt.StaticSecret(jwt.VerificationKeySet{Keys: []jwt.VerificationKey{testSecret, k.edPublic}})})
	good, bad := signWith(t, jwt.SigningMethodEdDSA, k.ed, jwt.MapClaims{}), signWith(t, jwt.SigningMethodES256, k.p256, jwt.MapClaims{})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := a.Verify(t.Context(), testRequest, good); err != nil {
				t.Error(err)
			}
			if _, err := a.Verify(t.Context(), testRequest, bad); err == nil {
				t.Error("accepted")
			}
		})
	}
	wg.Wait()
}

// FuzzToken checks that nothing but what was signed is accepted, and that every refusal
// is one of the contract.
func FuzzToken(f *testing.F) {
	const good = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0."
	signed := signParts(`{"alg":"HS256"}`, `{"sub":"a"}`)
	for _, seed := range []string{signed, good, "..", "a.b.c", rfc8037Token, signParts(`null`, `{}`), signParts(`{"alg":"HS256"}`, `null`), signParts(`{"alg":"HS256"}`, `{"exp":1e300}`)} {
		f.Add(seed)
	}
	for _, tc := range rfcTokens {
		f.Add(tc.token)
	}
	a := mustAuthorize(f, socketiojwt.Options{})
	structs := mustAuthorize(f, socketiojwt.Options{NewClaims: func() jwt.Claims { return &jwt.RegisteredClaims{} }})
	f.Fuzz(func(t *testing.T, raw string) {
		for _, a := range []*socketiojwt.Authorizer{a, structs} {
			_, err := a.Verify(t.Context(), testRequest, raw)
			if err == nil {
				parts := strings.Split(raw, ".")
				if len(parts) != 3 {
					t.Fatalf("accepted: %q", raw)
				}
				sig, signErr := jwt.SigningMethodHS256.Sign(parts[0]+"."+parts[1], []byte(testSecret))
				if signErr != nil || base64.RawURLEncoding.EncodeToString(sig) != parts[2] {
					t.Fatalf("accepted: %q", raw)
				}
				continue
			}
			if !errors.Is(err, &socketiojwt.UnauthorizedError{Code: socketiojwt.CodeInvalidToken}) {
				t.Fatalf("%q: %v", raw, err)
			}
		}
	})
}
