package socketiojwt_test

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/golang-jwt/jwt/v5"
)

func TestAuthorizeNamesTheFieldThatIsWrong(t *testing.T) {
	t.Parallel()
	k := harness.Keys()
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k.P256)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public := harness.PublicPEM(t, &k.RSA.PublicKey)
	key := func(key any) socketiojwt.Options {
		return socketiojwt.Options{Secret: socketiojwt.StaticSecret(key)}
	}
	oneMap, onePointer := jwt.MapClaims{}, &jwt.RegisteredClaims{}
	static := socketiojwt.StaticSecret(harness.Secret)
	rsaStatic := socketiojwt.StaticSecret(public)

	for name, tc := range map[string]struct {
		opts socketiojwt.Options
		want string // what the text has to contain, besides the field
	}{
		"Secret: none":                {socketiojwt.Options{}, "StaticSecret"},
		"Secret: nil SecretFunc":      {socketiojwt.Options{Secret: socketiojwt.SecretFunc(nil)}, "missing"},
		"Secret: nil Keyfunc":         {socketiojwt.Options{Secret: socketiojwt.Keyfunc(nil)}, "missing"},
		"Secret: nil":                 {key(nil), "empty"},
		"Secret: empty string":        {key(""), "empty"},
		"Secret: nil bytes":           {key([]byte(nil)), "empty"},
		"Secret: nil RSA":             {key((*rsa.PublicKey)(nil)), "empty"},
		"Secret: nil ECDSA":           {key((*ecdsa.PublicKey)(nil)), "empty"},
		"Secret: nil Ed25519":         {key(ed25519.PublicKey(nil)), "empty"},
		"Secret: RSA private":         {key(k.RSA), "private key"},
		"Secret: RSA private value":   {key(*k.RSA), "private key"},
		"Secret: ECDSA private":       {key(k.P256), "private key"},
		"Secret: Ed25519 private":     {key(k.Ed25519), "private key"},
		"Secret: PKCS 1 PEM":          {key(harness.PEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(k.RSA))), "private key"},
		"Secret: PKCS 8 PEM":          {key([]byte(harness.PEM("PRIVATE KEY", pkcs8))), "private key"},
		"Secret: encrypted PEM":       {key(harness.PEM("ENCRYPTED PRIVATE KEY", pkcs8)), "private key"},
		"Secret: both keys":           {key(public + harness.PEM("PRIVATE KEY", pkcs8)), "private key"},
		"Secret: two public keys":     {key(public + public), "VerificationKeySet"},
		"Secret: PEM without an end":  {key(strings.Split(public, "-----END")[0]), "line breaks"},
		"Secret: escaped line breaks": {key(strings.ReplaceAll(public, "\n", `\n`)), "line breaks"},
		"Secret: words before PEM":    {key("x " + public), "line breaks"},
		"Secret: PEM of nothing":      {key(harness.PEM("PUBLIC KEY", []byte("nothing"))), "PUBLIC KEY"},
		"Secret: PEM request":         {key(harness.PEM("CERTIFICATE REQUEST", []byte("nothing"))), "CERTIFICATE REQUEST"},
		"Secret: SSH key":             {key("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"), "ssh-keygen"},
		"Secret: P-224":               {key(&p224.PublicKey), "P-224"},
		"Secret: P-224 PEM":           {key(harness.PublicPEM(t, &p224.PublicKey)), "P-224"},
		"Secret: X25519":              {key(x25519.PublicKey()), "ecdh"},
		"Secret: X25519 PEM":          {key(harness.PublicPEM(t, x25519.PublicKey())), "ecdh"},
		"Secret: number":              {key(42), "int"},
		"Secret: empty set":           {key(jwt.VerificationKeySet{}), "set is empty"},
		"Secret: nil in a set":        {key(jwt.VerificationKeySet{Keys: []jwt.VerificationKey{harness.Secret, nil}}), "key 1"},

		"Methods: none":             {socketiojwt.Options{Secret: static, Methods: []string{"none"}}, "anybody"},
		"Methods: None":             {socketiojwt.Options{Secret: static, Methods: []string{"HS256", "None"}}, "anybody"},
		"Methods: unknown":          {socketiojwt.Options{Secret: static, Methods: []string{"HS1"}}, "HS256, HS384"},
		"Methods: lower case":       {socketiojwt.Options{Secret: static, Methods: []string{"hs256"}}, "unknown"},
		"Methods: empty":            {socketiojwt.Options{Secret: static, Methods: []string{""}}, "unknown"},
		"Methods: RS256 for secret": {socketiojwt.Options{Secret: static, Methods: []string{"HS256", "RS256"}}, "fit"},
		"Methods: HS256 for RSA":    {socketiojwt.Options{Secret: rsaStatic, Methods: []string{"HS256"}}, "RS256"},
		"Methods: ES384 for P-256":  {socketiojwt.Options{Secret: socketiojwt.StaticSecret(&k.P256.PublicKey), Methods: []string{"ES384"}}, "ES256"},

		"ParserOptions: nil entry":   {socketiojwt.Options{Secret: static, ParserOptions: []jwt.ParserOption{jwt.WithIssuedAt(), nil}}, "entry 1"},
		"NewClaims: struct by value": {socketiojwt.Options{Secret: static, NewClaims: func() jwt.Claims { return jwt.RegisteredClaims{} }}, "pointer"},

		"NewClaims: one map":     {socketiojwt.Options{Secret: static, NewClaims: func() jwt.Claims { return oneMap }}, "new one"},
		"NewClaims: one pointer": {socketiojwt.Options{Secret: static, NewClaims: func() jwt.Claims { return onePointer }}, "new one"},

		"HeaderRequired: round trip":  {socketiojwt.Options{Secret: static, HeaderRequired: true}, "Handshake"},
		"HeaderRequired: Cookie":      {socketiojwt.Options{Secret: static, Handshake: true, HeaderRequired: true, Cookie: "c"}, "Cookie"},
		"HeaderRequired: QueryParam":  {socketiojwt.Options{Secret: static, Handshake: true, HeaderRequired: true, QueryParam: "q"}, "QueryParam"},
		"QueryParam: round trip":      {socketiojwt.Options{Secret: static, QueryParam: "q"}, "Handshake"},
		"QueryParam: of Engine.IO":    {socketiojwt.Options{Secret: static, Handshake: true, QueryParam: "sid"}, "Engine.IO"},
		"AllowedOrigins: no Cookie":   {socketiojwt.Options{Secret: static, AllowedOrigins: []string{"https://a.example"}}, "Cookie"},
		"Cookie: no name":             {socketiojwt.Options{Secret: static, Cookie: "a b"}, "name of a cookie"},
		"Timeout: negative":           {socketiojwt.Options{Secret: static, Timeout: -1}, "5s"},
		"Timeout: no unit":            {socketiojwt.Options{Secret: static, Timeout: 5}, "5*time.Second"},
		"CloseGrace: no unit":         {socketiojwt.Options{Secret: static, CloseGrace: 10}, "10*time.Second"},
		"MaxTokenBytes: negative":     {socketiojwt.Options{Secret: static, MaxTokenBytes: -1}, "8192"},
		"MaxAttempts: negative":       {socketiojwt.Options{Secret: static, MaxAttempts: -1}, "5"},
		"MaxPending: negative":        {socketiojwt.Options{Secret: static, MaxPending: -1}, "10000"},
		"AllowedOrigins: star":        {withOrigin("*"), "origin"},
		"AllowedOrigins: wildcard":    {withOrigin("https://*.example.com"), "wildcard"},
		"AllowedOrigins: no scheme":   {withOrigin("example.com"), "scheme"},
		"AllowedOrigins: host:port":   {withOrigin("example.com:80"), "scheme"},
		"AllowedOrigins: slash":       {withOrigin("https://example.com/"), "path"},
		"AllowedOrigins: path":        {withOrigin("https://example.com/a"), "path"},
		"AllowedOrigins: query":       {withOrigin("https://example.com?a"), "origin"},
		"AllowedOrigins: fragment":    {withOrigin("https://example.com#"), "origin"},
		"AllowedOrigins: user":        {withOrigin("https://a@example.com"), "origin"},
		"AllowedOrigins: null":        {withOrigin("null"), "origin"},
		"AllowedOrigins: empty":       {withOrigin(""), "origin"},
		"AllowedOrigins: no host":     {withOrigin("https://"), "origin"},
		"AllowedOrigins: port only":   {withOrigin("https://:80"), "origin"},
		"AllowedOrigins: port a word": {withOrigin("https://a:b"), "origin"},
		"AllowedOrigins: blank":       {withOrigin(" https://a"), "origin"},
		"AllowedOrigins: not ASCII":   {withOrigin("https://bücher.example"), "origin"},
	} {
		t.Run(name, func(t *testing.T) {
			field, _, _ := strings.Cut(name, ":")
			a, err := socketiojwt.Authorize(tc.opts)
			if err == nil || a != nil {
				t.Fatal("accepted")
			}
			text := err.Error()
			if !strings.HasPrefix(text, "socketiojwt: ") || !strings.Contains(text, field) || !strings.Contains(text, tc.want) {
				t.Errorf("%q does not name %s and %q", text, field, tc.want)
			}
		})
	}
}

func withOrigin(origin string) socketiojwt.Options {
	return socketiojwt.Options{Secret: socketiojwt.StaticSecret(harness.Secret), Cookie: "c", AllowedOrigins: []string{"https://good.example", origin}}
}

func TestZeroOptionsMeanTheDocumentedDefaults(t *testing.T) {
	t.Parallel()
	got := harness.Authorize(t, socketiojwt.Options{}).Normalised()
	if got.Timeout != 5*time.Second || got.QueryParam != "token" || got.MaxTokenBytes != 8192 || got.MaxAttempts != 5 || got.MaxPending != 10_000 {
		t.Errorf("got %+v", got)
	}
	if got.Handshake || got.Optional || got.HeaderRequired || got.CloseGrace != 0 || got.Cookie != "" {
		t.Errorf("got %+v", got)
	}
}

func TestOptionsThatAreFineAreKept(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]socketiojwt.Options{
		"header":        {Handshake: true, HeaderRequired: true},
		"query":         {Handshake: true, QueryParam: "jwt", Cookie: "c"},
		"round trip":    {Cookie: "c", CloseGrace: -1, Optional: true, Timeout: time.Second},
		"methods":       {Methods: []string{"HS512", "HS256"}},
		"no methods":    {Methods: []string{}},
		"claims":        {NewClaims: func() jwt.Claims { return &jwt.RegisteredClaims{} }},
		"empty claims":  {NewClaims: func() jwt.Claims { return &noClaims{} }},
		"nil claims":    {NewClaims: func() jwt.Claims { return nil }},
		"panic":         {NewClaims: func() jwt.Claims { panic("later") }},
		"mixed methods": {Secret: harness.SecretReturning(nil), Methods: []string{"HS256", "RS256"}},
		"origins":       {Cookie: "c", AllowedOrigins: []string{"https://a.example", "HTTP://B.example:80", "http://[::1]:3000", "app://localhost"}},
	} {
		t.Run(name, func(t *testing.T) { harness.Authorize(t, opts) })
	}
}

func TestLaterChangesToOptionsHaveNoEffect(t *testing.T) {
	t.Parallel()
	k := harness.Keys()
	secret, edPublic := []byte(harness.Secret), bytes.Clone(k.Ed25519Public)
	methods := []string{"HS256"}
	origins := []string{"https://a.example"}
	a := harness.Authorize(t, socketiojwt.Options{Secret: socketiojwt.StaticSecret(secret), Methods: methods, Cookie: "c", AllowedOrigins: origins})
	ed := harness.Authorize(t, socketiojwt.Options{Secret: socketiojwt.StaticSecret(ed25519.PublicKey(edPublic))})
	secret[0], edPublic[0], methods[0], origins[0] = 'X', edPublic[0]^1, "HS512", "https://evil.example"

	_, err := a.Verify(t.Context(), testRequest, harness.SignHS256(t, jwt.MapClaims{}))
	checkRefusal(t, err, nil)
	_, err = ed.Verify(t.Context(), testRequest, harness.Sign(t, jwt.SigningMethodEdDSA, k.Ed25519, jwt.MapClaims{}))
	checkRefusal(t, err, nil)
	if got := a.Normalised().AllowedOrigins[0]; got != "https://a.example" {
		t.Errorf("AllowedOrigins changed to %s", got)
	}
}

func TestWeakKeysWorkAndAreLoggedOnce(t *testing.T) {
	t.Parallel()
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	const short = "thirty-one bytes, one too few.."
	for name, tc := range map[string]struct {
		key, private any
		method       jwt.SigningMethod
		lines        int
	}{
		"31 bytes": {short, []byte(short), jwt.SigningMethodHS256, 1},
		"32 bytes": {short + ".", []byte(short + "."), jwt.SigningMethodHS256, 0},
		"RSA 1024": {&small.PublicKey, small, jwt.SigningMethodRS256, 1},
		"RSA 2048": {&harness.Keys().RSA.PublicKey, harness.Keys().RSA, jwt.SigningMethodRS256, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			a := harness.Authorize(t, socketiojwt.Options{Secret: socketiojwt.StaticSecret(tc.key), Logger: logger(&log)})
			for range 3 {
				_, err := a.Verify(t.Context(), testRequest, harness.Sign(t, tc.method, tc.private, jwt.MapClaims{}))
				checkRefusal(t, err, nil)
			}
			if got := strings.Count(log.String(), "level=WARN"); got != tc.lines || strings.Count(log.String(), "\n") != tc.lines {
				t.Errorf("got %d warnings, want %d: %s", got, tc.lines, &log)
			}
			if strings.Contains(log.String(), short) {
				t.Errorf("the secret is in the log: %s", &log)
			}
		})
	}
}

func TestPrintingOptionsDoesNotPrintTheSecret(t *testing.T) {
	t.Parallel()
	opts := socketiojwt.Options{Secret: socketiojwt.StaticSecret(harness.Secret)}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		text := fmt.Sprintf(format, opts)
		if strings.Contains(text, harness.Secret) || strings.Contains(text, fmt.Sprint([]byte(harness.Secret))) || strings.Contains(text, "0x61, 0x20, 0x73") {
			t.Errorf("%s prints the secret: %s", format, text)
		}
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("opts", "secret", opts.Secret)
	if strings.Contains(log.String(), harness.Secret) {
		t.Errorf("slog prints the secret: %s", &log)
	}
}

func TestStaticSecretIsASecretOfItsOwn(t *testing.T) {
	t.Parallel()
	key, err := socketiojwt.StaticSecret(harness.Secret).Key(context.Background(), testRequest, nil)
	if got, ok := key.([]byte); err != nil || !ok || string(got) != harness.Secret {
		t.Errorf("got %v, %v", key, err)
	}
	if _, err := socketiojwt.StaticSecret("").Key(context.Background(), testRequest, nil); err == nil {
		t.Error("an empty key is no error")
	}
}

// noClaims has no size, so that all of them may have one address.
type noClaims struct{}

func (*noClaims) GetExpirationTime() (*jwt.NumericDate, error) { return nil, nil }
func (*noClaims) GetIssuedAt() (*jwt.NumericDate, error)       { return nil, nil }
func (*noClaims) GetNotBefore() (*jwt.NumericDate, error)      { return nil, nil }
func (*noClaims) GetIssuer() (string, error)                   { return "", nil }
func (*noClaims) GetSubject() (string, error)                  { return "", nil }
func (*noClaims) GetAudience() (jwt.ClaimStrings, error)       { return nil, nil }
