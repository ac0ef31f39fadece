package socketiojwt_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/golang-jwt/jwt/v5"
)

// What a token is refused with.
const (
	accepted         = ""
	malformed        = "jwt malformed"
	noSignature      = "jwt signature is required"
	invalidAlgorithm = "invalid algorithm"
	expired          = "jwt expired"
	notActive        = "jwt not active"
	headerHS256      = `{"alg":"HS256","typ":"JWT"}`
)

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

// rfcTokens are the examples of RFC 7515, Appendix A.1 to A.3.
var rfcTokens = map[string]struct {
	key   any
	token string
}{
	"RFC 7515 A.1 HS256": {
		harness.FromBase64("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"),
		"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
	},
	"RFC 7515 A.2 RS256": {
		&rsa.PublicKey{E: 65537, N: new(big.Int).SetBytes(harness.FromBase64("ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"))},
		"eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
	},
	"RFC 7515 A.3 ES256": {
		&ecdsa.PublicKey{
			Curve: elliptic.P256(),
			X:     new(big.Int).SetBytes(harness.FromBase64("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU")),
			Y:     new(big.Int).SetBytes(harness.FromBase64("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0")),
		},
		"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
	},
}

// A.4 of RFC 8037 signs a text that is no JSON, so as a token it is malformed; its key
// and its signature are good.
const rfc8037Token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"

var rfc8037Key = ed25519.PublicKey(harness.FromBase64("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"))

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
	t.Parallel()
	then := jwt.WithTimeFunc(func() time.Time { return time.Unix(1300819379, 0) })
	check := func(t *testing.T, key any, raw string) {
		a := harness.Authorize(t, socketiojwt.Options{Secret: socketiojwt.StaticSecret(key), ParserOptions: []jwt.ParserOption{then}})
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
		private := ed25519.NewKeyFromSeed(harness.FromBase64("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"))
		check(t, rfc8037Key, harness.Sign(t, jwt.SigningMethodEdDSA, private, jwt.MapClaims{"sub": "a"}))
	})
	t.Run("RFC 8037 A.4 EdDSA", func(t *testing.T) {
		parts := strings.Split(rfc8037Token, ".")
		if err := jwt.SigningMethodEdDSA.Verify(parts[0]+"."+parts[1], harness.FromBase64(parts[2]), rfc8037Key); err != nil {
			t.Error(err)
		}
		a := harness.Authorize(t, socketiojwt.Options{Secret: socketiojwt.StaticSecret(rfc8037Key)})
		_, err := a.Verify(t.Context(), testRequest, rfc8037Token)
		checkRefusal(t, err, tokenRefusal("jwt malformed"))
	})
}

func TestRFCTokenIsExpiredToday(t *testing.T) {
	t.Parallel()
	tc := rfcTokens["RFC 7515 A.1 HS256"]
	a := harness.Authorize(t, socketiojwt.Options{Secret: socketiojwt.StaticSecret(tc.key)})
	_, err := a.Verify(t.Context(), testRequest, tc.token)
	checkRefusal(t, err, tokenRefusal("jwt expired"))
	if !errors.Is(err, jwt.ErrTokenExpired) {
		t.Errorf("%v does not wrap golang-jwt's error", err)
	}
}

func TestEveryShapeOfATokenIsRefusedAsNodeDoes(t *testing.T) {
	t.Parallel()
	good := harness.SignHS256(t, jwt.MapClaims{"sub": "a"})
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
		"header not JSON":        {harness.SignParts(`{"alg":`, `{}`), tokenRefusal("jwt malformed")},
		"payload not JSON":       {harness.SignParts(hs256, `{"sub"`), tokenRefusal("jwt malformed")},
		"header null":            {harness.SignParts(`null`, `{}`), tokenRefusal("jwt malformed")},
		"header array":           {harness.SignParts(`["HS256"]`, `{}`), tokenRefusal("jwt malformed")},
		"payload null":           {harness.SignParts(hs256, `null`), tokenRefusal("jwt malformed")},
		"payload null, indented": {harness.SignParts(hs256, " \t\r\n null "), tokenRefusal("jwt malformed")},
		"payload array":          {harness.SignParts(hs256, `[]`), tokenRefusal("jwt malformed")},
		"payload string":         {harness.SignParts(hs256, `"{}"`), tokenRefusal("jwt malformed")},
		"payload number":         {harness.SignParts(hs256, `1`), tokenRefusal("jwt malformed")},
		"payload empty":          {harness.SignParts(hs256, ``), tokenRefusal("jwt malformed")},
		"payload blank":          {harness.SignParts(hs256, ` `), tokenRefusal("jwt malformed")},
		"payload indented":       {harness.SignParts(hs256, "\r\n    {}\n"), nil},
		"no alg":                 {harness.SignParts(`{}`, `{}`), tokenRefusal("invalid algorithm")},
		"alg not a string":       {harness.SignParts(`{"alg":256}`, `{}`), tokenRefusal("invalid algorithm")},
		"alg unknown":            {harness.SignParts(`{"alg":"HS1"}`, `{}`), tokenRefusal("invalid algorithm")},
		"alg in lower case":      {harness.SignParts(`{"alg":"hs256"}`, `{}`), tokenRefusal("invalid algorithm")},
		"alg none":               {harness.SignParts(`{"alg":"none"}`, `{}`), tokenRefusal("invalid algorithm")},
		"alg None":               {harness.SignParts(`{"alg":"None"}`, `{}`), tokenRefusal("invalid algorithm")},
		"alg of another family":  {harness.SignParts(`{"alg":"RS256"}`, `{}`), tokenRefusal("invalid algorithm")},
		"crit unknown":           {harness.SignParts(`{"alg":"HS256","crit":["exp"]}`, `{}`), tokenRefusal("invalid algorithm")},
		"crit b64":               {harness.SignParts(`{"alg":"HS256","crit":["b64"],"b64":false}`, `{}`), tokenRefusal("invalid algorithm")},
		"crit null":              {harness.SignParts(`{"alg":"HS256","crit":null}`, `{}`), tokenRefusal("invalid algorithm")},
		"other signature":        {parts[0] + "." + parts[1] + "." + strings.Split(harness.SignHS256(t, jwt.MapClaims{}), ".")[2], tokenRefusal("invalid signature")},
		"short signature":        {parts[0] + "." + parts[1] + ".AAAA", tokenRefusal("invalid signature")},
		"line break in it":       {parts[0] + "." + parts[1] + "." + parts[2][:8] + "\n" + parts[2][8:], tokenRefusal("invalid signature")},
		"padded":                 {good + "=", tokenRefusal("jwt malformed")},
		"other secret":           {harness.Sign(t, jwt.SigningMethodHS256, []byte("other"), jwt.MapClaims{}), tokenRefusal("invalid signature")},
		"empty secret":           {harness.Sign(t, jwt.SigningMethodHS256, []byte{}, jwt.MapClaims{}), tokenRefusal("invalid signature")},
		"exp a string":           {harness.SignHS256(t, jwt.MapClaims{"exp": "4000000000"}), tokenRefusal("jwt malformed")},
		"exp null":               {harness.SignHS256(t, jwt.MapClaims{"exp": nil}), tokenRefusal("jwt malformed")},
		"exp 0":                  {harness.SignHS256(t, jwt.MapClaims{"exp": 0}), tokenRefusal("jwt expired")},
		"exp past":               {harness.SignHS256(t, jwt.MapClaims{"exp": 1}), tokenRefusal("jwt expired")},
		"nbf a string":           {harness.SignHS256(t, jwt.MapClaims{"nbf": "1"}), tokenRefusal("jwt malformed")},
		"nbf in the future":      {harness.SignHS256(t, jwt.MapClaims{"nbf": 4000000000}), tokenRefusal("jwt not active")},
		"sub an object":          {harness.SignHS256(t, jwt.MapClaims{"sub": map[string]any{}}), tokenRefusal("jwt malformed")},
		"sub a number":           {harness.SignHS256(t, jwt.MapClaims{"sub": 42}), nil},
		"too long":               {harness.SignHS256(t, jwt.MapClaims{"x": strings.Repeat("x", 8<<10)}), tokenRefusal("jwt too long")},
		"too long and malformed": {strings.Repeat(".", 8<<10+1), tokenRefusal("jwt too long")},
	} {
		t.Run(name, func(t *testing.T) {
			for _, newClaims := range []func() jwt.Claims{nil, func() jwt.Claims { return &jwt.MapClaims{} }} {
				_, err := harness.Authorize(t, socketiojwt.Options{NewClaims: newClaims}).Verify(t.Context(), testRequest, tc.raw)
				checkRefusal(t, err, tc.want)
			}
		})
	}
}

func TestNullClaimsAreRefusedForStructsToo(t *testing.T) {
	t.Parallel()
	a := harness.Authorize(t, socketiojwt.Options{NewClaims: func() jwt.Claims { return &jwt.RegisteredClaims{} }})
	_, err := a.Verify(t.Context(), testRequest, harness.SignParts(`{"alg":"HS256"}`, `null`))
	checkRefusal(t, err, tokenRefusal("jwt malformed"))
	_, err = a.Verify(t.Context(), testRequest, harness.SignHS256(t, jwt.MapClaims{"exp": "soon"}))
	checkRefusal(t, err, tokenRefusal("jwt malformed"))
}

func TestTokensOfMaxTokenBytesAreRead(t *testing.T) {
	t.Parallel()
	raw := harness.SignHS256(t, jwt.MapClaims{})
	for limit, want := range map[int]error{len(raw): nil, len(raw) - 1: tokenRefusal("jwt too long")} {
		a := harness.Authorize(t, socketiojwt.Options{MaxTokenBytes: limit})
		_, err := a.Verify(t.Context(), testRequest, raw)
		checkRefusal(t, err, want)
	}
}

func TestFailedClaimsAreReportedInNodesOrder(t *testing.T) {
	t.Parallel()
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
			a := harness.Authorize(t, socketiojwt.Options{ParserOptions: tc.options})
			_, err := a.Verify(t.Context(), testRequest, harness.SignHS256(t, tc.claims))
			checkRefusal(t, err, tc.want)
		})
	}
}

func TestTokenExpiresAtItsSecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := harness.Authorize(t, socketiojwt.Options{})
		exp := time.Now().Add(time.Minute).Truncate(time.Second)
		raw := harness.SignHS256(t, jwt.MapClaims{"exp": exp.Unix()})
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
	t.Parallel()
	a := harness.Authorize(t, socketiojwt.Options{Accept: func(_ context.Context, _ *socketiojwt.Request, token *jwt.Token) (any, error) {
		if !token.Valid {
			t.Error("Accept got a token that is not marked valid")
		}
		return "the user", nil
	}})
	raw := harness.SignHS256(t, jwt.MapClaims{"sub": "alice", "role": "admin"})
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
	t.Parallel()
	const large = "9007199254740993" // the first integer that is no float64
	for sub, want := range map[any]string{42: "42", -1.5: "-1.5", "42": "42", json.Number("7"): "7", large: large, json.Number(large): large} {
		for name, options := range map[string][]jwt.ParserOption{"float64": nil, "json.Number": {jwt.WithJSONNumber()}} {
			s, err := harness.Authorize(t, socketiojwt.Options{ParserOptions: options}).Verify(t.Context(), testRequest, harness.SignHS256(t, jwt.MapClaims{"sub": sub}))
			if options == nil && sub == json.Number(large) {
				checkRefusal(t, err, tokenRefusal("jwt malformed"))
			} else if err != nil || s.Subject() != want {
				t.Errorf("%s: %v: got %v, %v", name, sub, s, err)
			}
		}
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
	t.Parallel()
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
			a := harness.Authorize(t, socketiojwt.Options{NewClaims: tc.newClaims, Logger: logger(&log)})
			_, err := a.Verify(t.Context(), testRequest, harness.SignHS256(t, jwt.MapClaims{"trick": tc.trick}))
			checkRefusal(t, err, tc.want)
			if logged := strings.Contains(log.String(), "callback=NewClaims"); logged != tc.logged {
				t.Errorf("logged = %v: %s", logged, &log)
			}
		})
	}
}

func TestAlgorithmsAreCheckedUnderConcurrency(t *testing.T) {
	t.Parallel()
	k := harness.Keys()
	a := harness.Authorize(t, socketiojwt.Options{Secret: socketiojwt.StaticSecret(jwt.VerificationKeySet{Keys: []jwt.VerificationKey{harness.Secret, k.Ed25519Public}})})
	good, bad := harness.Sign(t, jwt.SigningMethodEdDSA, k.Ed25519, jwt.MapClaims{}), harness.Sign(t, jwt.SigningMethodES256, k.P256, jwt.MapClaims{})
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
	signed := harness.SignParts(`{"alg":"HS256"}`, `{"sub":"a"}`)
	for _, seed := range []string{signed, good, "..", "a.b.c", rfc8037Token, harness.SignParts(`null`, `{}`), harness.SignParts(`{"alg":"HS256"}`, `null`), harness.SignParts(`{"alg":"HS256"}`, `{"exp":1e300}`)} {
		f.Add(seed)
	}
	for _, tc := range rfcTokens {
		f.Add(tc.token)
	}
	a := harness.Authorize(f, socketiojwt.Options{})
	structs := harness.Authorize(f, socketiojwt.Options{NewClaims: func() jwt.Claims { return &jwt.RegisteredClaims{} }})
	f.Fuzz(func(t *testing.T, raw string) {
		for _, a := range []*socketiojwt.Authorizer{a, structs} {
			_, err := a.Verify(t.Context(), testRequest, raw)
			if err == nil {
				parts := strings.Split(raw, ".")
				if len(parts) != 3 {
					t.Fatalf("accepted: %q", raw)
				}
				sig, signErr := jwt.SigningMethodHS256.Sign(parts[0]+"."+parts[1], []byte(harness.Secret))
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

// The other examples of RFC 7515: A.4 signs a text that is no JSON, so
// its key and its signature are good, and it is no token; A.5 is not signed at all.
func TestRFC7515ES512AndNone(t *testing.T) {
	t.Parallel()
	key := &ecdsa.PrivateKey{
		PublicKey: ecdsa.PublicKey{
			Curve: elliptic.P521(),
			X:     new(big.Int).SetBytes(harness.FromBase64("AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk")),
			Y:     new(big.Int).SetBytes(harness.FromBase64("ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2")),
		},
		D: new(big.Int).SetBytes(harness.FromBase64("AY5pb7A0UFiB3RELSD64fTLOSV_jazdF7fLYyuTw8lOfRhWg6Y6rUrPAxerEzgdRhajnu0ferB0d53vM9mE15j2C")),
	}
	const text = "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA"
	const sig = "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn"
	if err := jwt.SigningMethodES512.Verify(text, harness.FromBase64(sig), &key.PublicKey); err != nil {
		t.Error(err)
	}
	a := harness.Authorize(t, socketiojwt.Options{Secret: socketiojwt.StaticSecret(&key.PublicKey)})
	_, err := a.Verify(t.Context(), testRequest, text+"."+sig)
	checkRefusal(t, err, tokenRefusal(malformed))

	raw := harness.Sign(t, jwt.SigningMethodES512, key, jwt.MapClaims{"sub": "eve"})
	_, err = a.Verify(t.Context(), testRequest, raw)
	checkRefusal(t, err, nil)
	for i := 0; i < len(raw); i += 7 { // P-521 is slow
		flipped := []byte(raw)
		flipped[i] ^= 1
		if _, err := a.Verify(t.Context(), testRequest, string(flipped)); err == nil {
			t.Errorf("verifies: %s", flipped)
		}
	}

	none := "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
	_, err = a.Verify(t.Context(), testRequest, none)
	checkRefusal(t, err, tokenRefusal(noSignature))
	_, err = a.Verify(t.Context(), testRequest, none+"AAAA")
	checkRefusal(t, err, tokenRefusal(invalidAlgorithm))
}
