package socketiojwt_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/golang-jwt/jwt/v5"
)

// ownClaims are an application's.
type ownClaims struct {
	Role string `json:"role"`
	jwt.RegisteredClaims
}

// claimsTypes are the options for each type of claims there is.
var claimsTypes = map[string]socketiojwt.Options{
	"MapClaims":             {},
	"MapClaims, JSONNumber": {ParserOptions: []jwt.ParserOption{jwt.WithJSONNumber()}},
	"*MapClaims":            {NewClaims: func() jwt.Claims { return &jwt.MapClaims{} }},
	"*RegisteredClaims":     {NewClaims: func() jwt.Claims { return &jwt.RegisteredClaims{} }},
	"struct":                {NewClaims: func() jwt.Claims { return &ownClaims{} }},
	"struct, JSONNumber":    {NewClaims: func() jwt.Claims { return &ownClaims{} }, ParserOptions: []jwt.ParserOption{jwt.WithJSONNumber()}},
}

func eachClaimsType(t *testing.T, f func(t *testing.T, opts socketiojwt.Options)) {
	for name, opts := range claimsTypes {
		t.Run(name, func(t *testing.T) { f(t, opts) })
	}
}

func hasMap(opts socketiojwt.Options) bool {
	return opts.NewClaims == nil || fmt.Sprintf("%T", opts.NewClaims()) == "*jwt.MapClaims"
}

func verifyPayload(t *testing.T, opts socketiojwt.Options, payload string) (*socketiojwt.Session, error) {
	t.Helper()
	return harness.Authorize(t, opts).Verify(t.Context(), testRequest, harness.SignParts(headerHS256, payload))
}

// farAway are seconds that time.Time, int64 or Duration cannot hold, or just can.
var farAway = []string{
	"1e12", "9007199254740991", "9007199254740993", "9007199254740993.5", "1e17", "9.2e18",
	"9223371974719179007", "9223371974719179008", "9223372036854774784", "9223372036854775807", "9223372036854775808",
	"18446744073709551616", "1e19", "1.5e19", "1E+19", "10000000000000000000.5", "99999999999999999999999", "1e300", "1.7976931348623157e308",
}

func TestFarDatesDoNotWrapRound(t *testing.T) {
	t.Parallel()
	eachClaimsType(t, func(t *testing.T, opts socketiojwt.Options) {
		for _, leeway := range []time.Duration{0, time.Minute, 1000 * time.Hour} {
			opts := opts
			opts.ParserOptions = append(opts.ParserOptions[:len(opts.ParserOptions):len(opts.ParserOptions)], jwt.WithIssuedAt(), jwt.WithLeeway(leeway))
			for _, date := range farAway {
				for payload, want := range map[string]error{
					`{"nbf":` + date + `}`:                 tokenRefusal(notActive),
					`{"nbf":-` + date + `}`:                nil,
					`{"iat":` + date + `}`:                 tokenRefusal(notActive),
					`{"iat":-` + date + `}`:                nil,
					`{"exp":` + date + `}`:                 nil,
					`{"exp":-` + date + `}`:                tokenRefusal(expired),
					`{ "\u0065xp" :` + "\n\t" + date + `}`: nil,
					`{"\u006ebf":` + date + "\r}":          tokenRefusal(notActive),
					`{"exp":` + date + `,"nbf":-` + date + `,"iat":-` + date + `}`:  nil,
					`{"exp":-` + date + `,"nbf":-` + date + `}`:                     tokenRefusal(expired),
					`{"exp":` + date + `,"nbf":` + date + `}`:                       tokenRefusal(notActive),
					`{"x":{"nbf":` + date + `},"exp":` + date + `,"y":"\"nbf\":1"}`: nil,
				} {
					_, err := verifyPayload(t, opts, payload)
					if checkRefusal(t, err, want); t.Failed() {
						t.Fatalf("%s, leeway %v", payload, leeway)
					}
				}
			}
		}
	})
}

// iat is compared for jwt.WithIssuedAt and Revocations only (RFC 7519 §4.1.6).
func TestFarIssuedAtIsNotCompared(t *testing.T) {
	t.Parallel()
	eachClaimsType(t, func(t *testing.T, opts socketiojwt.Options) {
		for _, date := range farAway {
			_, err := verifyPayload(t, opts, `{"iat":`+date+`}`)
			checkRefusal(t, err, nil)
		}
	})
}

// What is no float64 is decoded by jwt.WithJSONNumber only, and is further than all dates.
func TestDatesThatAreNoFloat64(t *testing.T) {
	t.Parallel()
	for payload, want := range map[string]string{
		`{"exp":1e400}`:  accepted,
		`{"exp":-1e400}`: expired,
		`{"nbf":1e400}`:  notActive,
		`{"nbf":-1e400}`: accepted,
	} {
		eachClaimsType(t, func(t *testing.T, opts socketiojwt.Options) {
			want := want
			if !hasMap(opts) || opts.ParserOptions == nil {
				want = malformed
			}
			_, err := verifyPayload(t, opts, payload)
			if want == accepted {
				checkRefusal(t, err, nil)
			} else {
				checkRefusal(t, err, tokenRefusal(want))
			}
		})
	}
}

// golang-jwt takes a number in quotes for a date too, though not in a map.
func TestFarDatesInQuotes(t *testing.T) {
	t.Parallel()
	eachClaimsType(t, func(t *testing.T, opts socketiojwt.Options) {
		for payload, want := range map[string]string{
			`{"exp":"1e300"}`:                    accepted,
			`{"exp":"-1e300"}`:                   expired,
			`{"nbf":"1e19"}`:                     notActive,
			`{"nbf":"\u0031e19","x":1}`:          notActive,
			`{"nbf":"922337203685477580\u0037"}`: notActive,
			`{"nbf":"-1e19"}`:                    accepted,
			`{"nbf":"1e19`:                       malformed,
			`{"nbf":"1e19\"}`:                    malformed,
		} {
			if hasMap(opts) {
				want = malformed
			}
			_, err := verifyPayload(t, opts, payload)
			if want == accepted {
				checkRefusal(t, err, nil)
			} else {
				checkRefusal(t, err, tokenRefusal(want))
			}
		}
	})
}

func TestFarDatesOfOtherBase64(t *testing.T) {
	t.Parallel()
	opts := socketiojwt.Options{ParserOptions: []jwt.ParserOption{jwt.WithPaddingAllowed(), jwt.WithStrictDecoding()}}
	for _, payload := range []string{`{"exp":1e300}`, `{"exp":1e300 }`, `{"exp":1e300  }`} {
		_, err := verifyPayload(t, opts, payload)
		checkRefusal(t, err, nil)
		_, err = verifyPayload(t, opts, strings.Replace(payload, "exp", "nbf", 1))
		checkRefusal(t, err, tokenRefusal(notActive))
	}
}

func TestTypesOfFarDatesAreChecked(t *testing.T) {
	t.Parallel()
	eachClaimsType(t, func(t *testing.T, opts socketiojwt.Options) {
		for _, value := range []string{`"x"`, `[1e300]`, `{"exp":1e300}`, `true`, `01e300`, `1.e300`, `1e300-1`, `+1e300`, `--1e300`, `-`, `1e300 1`} {
			_, err := verifyPayload(t, opts, `{"exp":`+value+`}`)
			checkRefusal(t, err, tokenRefusal(malformed))
		}
	})
}

func TestSessionsOfFarDates(t *testing.T) {
	t.Parallel()
	eachClaimsType(t, func(t *testing.T, opts socketiojwt.Options) {
		for _, date := range farAway {
			payload := `{"role":"admin","sub":"bob","big":12345678901234567890,"exp":` + date + `,"iat":-` + date + `,"jti":"one"}`
			session, err := verifyPayload(t, opts, payload)
			if err != nil {
				t.Fatal(err)
			}
			if session.Subject() != "bob" || session.TokenID() != "one" {
				t.Errorf("%s: got %v, %q", date, session, session.TokenID())
			}
			seconds, err := json.Number(date).Float64()
			if err != nil {
				t.Fatal(err)
			}
			far := int64(min(seconds, 1<<53-1))
			end := session.ExpiresAt()
			if end.Unix() != far || !end.After(time.Now()) || time.Until(end) < 200*365*24*time.Hour {
				t.Errorf("%s: expires at %v", date, end)
			}
			if raw := harness.SignParts(headerHS256, payload); session.RawToken() != raw || session.Token().Raw != raw || session.Token().Claims != nil && !session.Token().Valid {
				t.Errorf("%s: another token", date)
			}
			exp, err := session.Claims().GetExpirationTime()
			if err != nil || !exp.Time.Equal(end) {
				t.Errorf("%s: the claims say %v, %v", date, exp, err)
			}
			iat, err := session.Claims().GetIssuedAt()
			if err != nil || iat.Unix() != -far {
				t.Errorf("%s: the claims say %v, %v", date, iat, err)
			}
			switch claims := session.Claims().(type) {
			case jwt.MapClaims:
				want := any(12345678901234567890.0)
				if opts.ParserOptions != nil {
					want = json.Number("12345678901234567890")
				}
				if claims["big"] != want || claims["role"] != "admin" || len(claims) != 6 {
					t.Errorf("%s: claims %v", date, claims)
				}
			case *ownClaims:
				if claims.Role != "admin" || claims.Subject != "bob" {
					t.Errorf("%s: claims %v", date, claims)
				}
			}
		}
	})
}

// Secret and Accept see the dates that were compared.
func TestCallbacksSeeFarDates(t *testing.T) {
	t.Parallel()
	eachClaimsType(t, func(t *testing.T, opts socketiojwt.Options) {
		check := func(token *jwt.Token) {
			if exp, err := token.Claims.GetExpirationTime(); err != nil || exp.Before(time.Now()) {
				t.Errorf("expires at %v, %v", exp, err)
			}
		}
		opts.Secret = socketiojwt.Keyfunc(func(token *jwt.Token) (any, error) { check(token); return harness.Secret, nil })
		opts.Accept = func(_ context.Context, _ *socketiojwt.Request, token *jwt.Token) (any, error) {
			check(token)
			return nil, nil
		}
		_, err := verifyPayload(t, opts, `{"exp":1e300}`)
		checkRefusal(t, err, nil)
	})
}

// No timer of a date that never comes fires at once.
func TestSessionsThatNeverEnd(t *testing.T) {
	t.Parallel()
	eachClaimsType(t, func(t *testing.T, opts socketiojwt.Options) {
		for _, date := range []string{"9007199254740991", "9223372036854775807", "1e300"} {
			synctest.Test(t, func(t *testing.T) {
				opts := opts
				opts.ExpiryWarning = time.Hour
				opts.ParserOptions = append(opts.ParserOptions[:len(opts.ParserOptions):len(opts.ParserOptions)], jwt.WithLeeway(time.Hour))
				s := harness.StartAt(t, harness.InMemory(t), opts, harness.Chat)
				c, must := s.Enter(t, false, "websocket", harness.SignParts(headerHS256, `{"sub":"bob","exp":`+date+`}`))
				must.NextRaw(`42["welcome","bob"]`)
				time.Sleep(24 * time.Hour)
				must.Call("/", "echo", "still here")
				c.Close()
			})
		}
	})
}

func TestRevocationOfFarIssuedAt(t *testing.T) {
	t.Parallel()
	eachClaimsType(t, func(t *testing.T, opts socketiojwt.Options) {
		list := socketiojwt.NewMemoryRevocations()
		opts.Revocations = list
		revoke(t, list, socketiojwt.Revocation{Subject: "bob"})
		for _, date := range farAway {
			_, err := verifyPayload(t, opts, `{"sub":"bob","iat":`+date+`}`)
			checkRefusal(t, err, tokenRefusal("jwt revoked")) // as far as one can tell it was issued before
			_, err = verifyPayload(t, opts, `{"sub":"bob","iat":-`+date+`}`)
			checkRefusal(t, err, tokenRefusal("jwt revoked"))
		}
	})
}

// spellings are how a registered name can be written so that encoding/json matches a field.
func spellings(name string) []string {
	all := []string{
		name, strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:], name[:2] + strings.ToUpper(name[2:]),
		fmt.Sprintf(`\u%04x%s`, name[0], name[1:]), fmt.Sprintf(`%s\u%04X%s`, name[:1], name[1]-0x20, name[2:]),
		fmt.Sprintf(`\u%04x\u%04x\u%04x`, name[0], name[1], name[2]),
	}
	for i, letter := range name {
		for r := unicode.SimpleFold(letter); r != letter; r = unicode.SimpleFold(r) {
			all = append(all, name[:i]+string(r)+name[i+1:], fmt.Sprintf(`%s\u%04x%s`, name[:i], r, name[i+1:]))
		}
	}
	if strings.Contains(name, "s") {
		all = append(all, strings.ReplaceAll(name, "s", "\u017f"), strings.ReplaceAll(name, "s", `\u017F`))
	}
	return all
}

// valueOf is a good one.
func valueOf(name string) string {
	switch name {
	case "exp":
		return "4000000000"
	case "nbf", "iat":
		return "1"
	}
	return `"` + name + `"`
}

var registeredNames = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"}

func TestRegisteredNamesTwiceAreMalformed(t *testing.T) {
	t.Parallel()
	eachClaimsType(t, func(t *testing.T, opts socketiojwt.Options) {
		for _, name := range registeredNames {
			value := valueOf(name)
			for _, other := range spellings(name) {
				for _, payload := range []string{
					fmt.Sprintf(`{"%s":%s,"%s":%s}`, name, value, other, value),
					fmt.Sprintf(`{"%s":%s,"%s":null}`, name, value, other),
					fmt.Sprintf(`{"%s":null,"%s":%s}`, other, name, value),
					fmt.Sprintf(`{"%s":%s,"x":{"y":[{}]},"z":"{\"","\\":"\\\\","%s" :%s}`, other, value, name, value),
					fmt.Sprintf(`{"%s":%s,"%s":%s}`, strings.ToUpper(name), value, other, value),
				} {
					if _, err := verifyPayload(t, opts, payload); err == nil {
						t.Errorf("accepted: %s", payload)
					} else {
						checkRefusal(t, err, tokenRefusal(malformed))
					}
				}
			}
		}
	})
}

// A map has what it was sent, under the name it was sent. A struct would take another's.
func TestNamesThatOnlyFoldToARegisteredOne(t *testing.T) {
	t.Parallel()
	eachClaimsType(t, func(t *testing.T, opts socketiojwt.Options) {
		opts.Revocations = socketiojwt.NewMemoryRevocations()
		for _, name := range registeredNames {
			for _, other := range spellings(name) {
				payload := fmt.Sprintf(`{"%s":%s}`, other, valueOf(name))
				var members map[string]any
				if err := json.Unmarshal([]byte(payload), &members); err != nil {
					t.Fatal(err)
				}
				_, exact := members[name]
				session, err := verifyPayload(t, opts, payload)
				if !exact && !hasMap(opts) {
					checkRefusal(t, err, tokenRefusal(malformed))
					continue
				}
				if err != nil {
					t.Errorf("%s: %v", payload, err)
					continue
				}
				if got := session.Subject(); (got != "") != (exact && name == "sub") {
					t.Errorf("%s: subject %q", payload, got)
				}
				if got := session.TokenID(); (got != "") != (exact && name == "jti") {
					t.Errorf("%s: token id %q", payload, got)
				}
				if got := session.ExpiresAt(); !got.IsZero() != (exact && name == "exp") {
					t.Errorf("%s: expires at %v", payload, got)
				}
			}
		}
	})
}

// A struct need not know all claims, and the `jti` is found beside what it cannot read.
func TestTokenIDBesideOtherClaims(t *testing.T) {
	t.Parallel()
	opts := claimsTypes["struct"]
	opts.Revocations = socketiojwt.NewMemoryRevocations()
	session, err := verifyPayload(t, opts, `{"x":1e400,"jti":"one"}`)
	if err != nil || session.TokenID() != "one" {
		t.Errorf("got %v, %v", session, err)
	}
	revoke(t, opts.Revocations, socketiojwt.Revocation{TokenID: "one"})
	_, err = verifyPayload(t, opts, `{"x":1e400,"jti":"one"}`)
	checkRefusal(t, err, tokenRefusal("jwt revoked"))
}

// Names inside of values, in values, near to registered ones, and others twice are good.
func TestHonestNames(t *testing.T) {
	t.Parallel()
	for _, payload := range []string{
		`{"sub":"bob","x":{"sub":"eve","Sub":"eve","sub":"eve"},"y":[{"sub":1},{"Sub":2}]}`,
		`{"sub":"bob","x":["sub","sub"],"y":"sub","z":"\",\"sub\":1,\""}`,
		`{"sub":"bob","subs":1,"su":1,"s ub":1,"ub":1,"":1,"\"":1,"\\":2,"sub\u0000":1,"\uFF53ub":1,"\\u0073ub":1}`,
		`{"sub":"bob","jwt":1,"azp":1,"acr":1,"amr":1,"sid":1,"exp ":1," exp":1,"role":"a"}`,
		`{"x":1,"x":2,"X":3,"sub":"bob"}`,
		`{"role":"a","Role":"b","sub":"bob"}`,
		"\r\n\t {\r\n\t \"sub\"\r\n\t :\r\n\t \"bob\"\r\n\t }\r\n\t ",
		`{"x":"` + "\xff" + `","s` + "\xff" + `b":1,"sub":"bob"}`,
		`{"sub":"bob"}`,
	} {
		eachClaimsType(t, func(t *testing.T, opts socketiojwt.Options) {
			session, err := verifyPayload(t, opts, payload)
			if err != nil {
				t.Fatalf("%s: %v", payload, err)
			}
			if session.Subject() != "bob" {
				t.Errorf("%s: subject %q", payload, session.Subject())
			}
		})
	}
}

// registeredIn returns the names of an object that are or fold to a registered one, as
// encoding/json reads them.
func registeredIn(payload []byte) (names []string) {
	dec := json.NewDecoder(bytes.NewReader(payload))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return names
		}
		for _, registered := range registeredNames {
			if strings.EqualFold(registered, name.(string)) {
				names = append(names, name.(string))
			}
		}
		var value json.RawMessage
		if dec.Decode(&value) != nil {
			return names
		}
	}
	return names
}

// FuzzClaims checks with each claims type that no registered name counts twice or under
// another name, and that no date wraps round.
func FuzzClaims(f *testing.F) {
	for _, seed := range []string{
		`{"sub":"a","Sub":"b"}`, `{"exp":1,"E\u0058P":null}`, `{"\u017fub":1}`, `{"exp":1e300,"nbf":-1e300}`, `{"nbf":9223372036854775807}`,
		`{"x":{"sub":1,"y":[{}]},"sub":"a"}`, `{"x":"\\\"","exp" : 1e19 }`, `{"exp":01e300}`, `{"a":]"sub":1}`, `{"sub":"`, `{`, `null`, "\xff", `{"exp":1e300}{"exp":1}`,
	} {
		f.Add([]byte(seed))
	}
	authorizers := make(map[string]*socketiojwt.Authorizer)
	for name, opts := range claimsTypes {
		opts.Revocations = socketiojwt.NewMemoryRevocations()
		authorizers[name] = harness.Authorize(f, opts)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		raw := harness.SignParts(headerHS256, string(payload))
		names := registeredIn(payload)
		folded := make(map[string]bool)
		for _, name := range names {
			for _, registered := range registeredNames {
				if strings.EqualFold(registered, name) {
					folded[registered] = true
				}
			}
		}
		for name, a := range authorizers {
			session, err := a.Verify(t.Context(), testRequest, raw)
			if err != nil {
				continue
			}
			if len(folded) != len(names) {
				t.Fatalf("%s: accepted with a name twice: %q", name, payload)
			}
			var members map[string]any
			dec := json.NewDecoder(bytes.NewReader(payload))
			dec.UseNumber()
			if err := dec.Decode(&members); err != nil {
				t.Fatalf("%s: accepted, and no object: %q", name, payload)
			}
			if sub, isText := members["sub"].(string); isText && session.Subject() != sub || members["sub"] == nil && session.Subject() != "" {
				t.Fatalf("%s: subject %q of %q", name, session.Subject(), payload)
			}
			if _, ok := members["jti"]; !ok && session.TokenID() != "" {
				t.Fatalf("%s: token id %q of %q", name, session.TokenID(), payload)
			}
			now := float64(time.Now().Unix())
			if nbf, ok := members["nbf"].(json.Number); ok {
				if seconds, _ := nbf.Float64(); seconds > now+1 {
					t.Fatalf("%s: accepted before its time: %q", name, payload)
				}
			}
			if exp, ok := members["exp"].(json.Number); ok {
				if seconds, _ := exp.Float64(); seconds < now-1 || !session.ExpiresAt().After(time.Now().Add(-time.Second)) {
					t.Fatalf("%s: accepted after its time: %q", name, payload)
				}
			} else if !session.ExpiresAt().IsZero() {
				t.Fatalf("%s: expires at %v: %q", name, session.ExpiresAt(), payload)
			}
		}
	})
}

// TestClaimsThatDoNotFit: a type of claims that does not fit the issuer's tokens refuses all of
// them, and the client's message cannot say why. The log does, once for each address, and shows no
// claim.
func TestClaimsThatDoNotFit(t *testing.T) {
	t.Parallel()
	type ownSubject struct {
		jwt.RegisteredClaims
		Level uint8 `json:"level"`
	}
	own := func() jwt.Claims { return &ownSubject{} }
	const said = "does not fit the type that Options.NewClaims returns"
	for _, test := range []struct {
		name      string
		newClaims func() jwt.Claims
		payload   string
		words     []string
	}{
		{"a numeric sub", own, `{"sub":4711}`, []string{said, "level=WARN", "sub", "string"}},
		{"a level that is too high", own, `{"level":4711}`, []string{said, "level=WARN", "level", "uint8"}},
		{"no object", own, `"text"`, nil},
		{"no object in a map", nil, `4711`, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var log harness.Record
			a := harness.Authorize(t, socketiojwt.Options{NewClaims: test.newClaims, Logger: harness.LogTo(&log)})
			for range 3 {
				_, err := a.Verify(t.Context(), testRequest, harness.SignParts(headerHS256, test.payload))
				checkRefusal(t, err, tokenRefusal(malformed))
			}
			if test.words != nil {
				harness.SaidOnce(t, &log, test.words...)
			} else if strings.Contains(log.String(), said) {
				t.Errorf("the type of the claims is not at fault: %s", &log)
			}
			if strings.Contains(log.String(), "4711") {
				t.Errorf("a claim is in the log: %s", &log)
			}
		})
	}
}

// TestAStrangersTokenHidesNoMisfit: anybody can write a token that does not fit. The log says it of
// those that come from elsewhere, too.
func TestAStrangersTokenHidesNoMisfit(t *testing.T) {
	t.Parallel()
	type ofLevel struct {
		jwt.RegisteredClaims
		Level uint8 `json:"level"`
	}
	var log harness.Record
	a := harness.Authorize(t, socketiojwt.Options{
		NewClaims: func() jwt.Claims { return &ofLevel{} }, Logger: harness.LogTo(&log),
	})
	for _, token := range []struct{ remote, payload string }{
		{"192.0.2.66:1", `{"level":"high"}`}, {"192.0.2.66:2", `{"level":"low"}`}, {"192.0.2.1:1", `{"sub":5}`},
	} {
		_, err := a.Verify(t.Context(), &socketiojwt.Request{Namespace: "/", RemoteAddr: token.remote}, harness.SignParts(headerHS256, token.payload))
		checkRefusal(t, err, tokenRefusal(malformed))
	}
	harness.SaidOnce(t, &log, "level is no uint8", "remote=192.0.2.66:1")
	harness.SaidOnce(t, &log, "sub is no string", "remote=192.0.2.1:1")
}
