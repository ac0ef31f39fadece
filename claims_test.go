package socketiojwt_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/go-socketiojwt/socketiojwt"
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
	return mustAuthorize(t, opts).Verify(t.Context(), testRequest, signParts(headerHS256, payload))
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
