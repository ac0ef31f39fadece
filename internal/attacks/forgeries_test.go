package attacks_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/golang-jwt/jwt/v5"
)

// attack is a token that goes to a server in both modes, as the query of a handshake and
// in an `authenticate` event.
type attack struct {
	name string
	on   string // which of attacked; "" is "HMAC"
	raw  string
	want string // the message; accepted is that of a good token
	kid  any    // if not nil, what Secret has to be given
}

const (
	accepted          = ""
	malformed         = "jwt malformed"
	noSignature       = "jwt signature is required"
	invalidSignature  = "invalid signature"
	invalidAlgorithm  = "invalid algorithm"
	expired           = "jwt expired"
	notActive         = "jwt not active"
	tooLong           = "jwt too long"
	claimRequired     = "jwt claim required"
	farFuture         = 4000000000
	headerHS256       = `{"alg":"HS256","typ":"JWT"}`
	payloadEve        = `{"sub":"eve"}`
	bigTokens         = "HMAC, big tokens"
	bigTokenLimit     = 64 << 10
	maxTokenBytes     = 8 << 10
	messageLimit      = 16 << 10
	keyOfTheCallback  = "callback"
	keysOfTheCallback = "callback, RSA key by kid"
)

// attacked are the servers, by name.
func attacked(tb testing.TB) map[string]socketiojwt.Options {
	k := harness.Keys()
	options := func(secret socketiojwt.Secret, parser ...jwt.ParserOption) socketiojwt.Options {
		return socketiojwt.Options{Secret: secret, ParserOptions: parser}
	}
	hmac := socketiojwt.StaticSecret(harness.Secret)
	servers := map[string]socketiojwt.Options{
		"HMAC":                     options(hmac),
		"HMAC, exp required":       options(hmac, jwt.WithExpirationRequired()),
		"HMAC, iat checked":        options(hmac, jwt.WithIssuedAt()),
		"HMAC, leeway":             options(hmac, jwt.WithIssuedAt(), jwt.WithLeeway(time.Minute)),
		"HMAC, numbers as written": options(hmac, jwt.WithJSONNumber()),
		"HMAC, struct":             {Secret: hmac, NewClaims: func() jwt.Claims { return new(jwt.RegisteredClaims) }},
		bigTokens:                  {Secret: hmac, MaxTokenBytes: bigTokenLimit},
		keyOfTheCallback:           options(harness.SecretReturning(harness.Secret)),
		keysOfTheCallback: options(socketiojwt.Keyfunc(func(token *jwt.Token) (any, error) {
			if token.Header["kid"] == "ours" {
				return &k.RSA.PublicKey, nil
			}
			return nil, &socketiojwt.UnauthorizedError{Code: socketiojwt.CodeInvalidToken, Message: "unknown kid"}
		})),
	}
	for name, key := range publicKeys() {
		text := harness.PublicPEM(tb, key)
		for form, key := range map[string]any{"key": key, "PEM string": text, "PEM bytes": []byte(text)} {
			servers[name+" "+form] = options(socketiojwt.StaticSecret(key))
			servers[name+" "+form+" of a callback"] = options(harness.SecretReturning(key))
		}
	}
	return servers
}

func publicKeys() map[string]any {
	k := harness.Keys()
	return map[string]any{"RSA": &k.RSA.PublicKey, "P-256": &k.P256.PublicKey, "P-384": &k.P384.PublicKey, "Ed25519": k.Ed25519Public}
}

func encode64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// unsigned is the part of a token that is signed.
func unsigned(header, payload string) string { return encode64(header) + "." + encode64(payload) }

func attacks(tb testing.TB) []attack {
	var all []attack
	for _, family := range []func(testing.TB) []attack{
		attacksOnNone, attacksOnAlgorithm, attacksWithPublicKeys, attacksOnCrit, attacksWithKeysInTheHeader,
		attacksOnTheSignature, attacksOnECDSA, attacksOnTime, attacksOnJSON, attacksOnShape,
	} {
		all = append(all, family(tb)...)
	}
	return all
}

func attacksOnNone(tb testing.TB) (all []attack) {
	for _, alg := range []string{"none", "None", "NONE", "nOnE", "none ", " none", "none\\u0000", "n\\u006fne", ""} {
		text := unsigned(`{"alg":"`+alg+`"}`, payloadEve)
		signed := harness.SignParts(`{"alg":"`+alg+`"}`, payloadEve)
		for _, on := range []string{"HMAC", keyOfTheCallback, "RSA PEM string", "P-256 key of a callback", "Ed25519 key"} {
			all = append(all,
				attack{fmt.Sprintf("alg %q, no signature", alg), on, text + ".", noSignature, nil},
				attack{fmt.Sprintf("alg %q, two parts", alg), on, text, malformed, nil},
				attack{fmt.Sprintf("alg %q, signed", alg), on, signed, invalidAlgorithm, nil},
				attack{fmt.Sprintf("alg %q, some signature", alg), on, text + ".AAAA", invalidAlgorithm, nil},
			)
		}
	}
	return all
}

func attacksOnAlgorithm(tb testing.TB) (all []attack) {
	for _, header := range []string{
		`{}`, `{"typ":"JWT"}`, `{"alg":null}`, `{"alg":256}`, `{"alg":["HS256"]}`, `{"alg":{"HS256":1}}`, `{"alg":true}`,
		`{"alg":"HS1"}`, `{"alg":"hs256"}`, `{"alg":"HS256 "}`, `{"alg":"HS-256"}`, `{"alg":"HMAC"}`, `{"alg":"A128KW"}`,
		`{"alg":"RS256"}`, `{"alg":"PS512"}`, `{"alg":"ES256"}`, `{"alg":"ES256K"}`, `{"alg":"EdDSA"}`, `{"ALG":"HS256"}`,
	} {
		all = append(all, attack{header, "", harness.SignParts(header, payloadEve), invalidAlgorithm, nil})
	}
	return append(all, attack{"a good one", "", harness.SignParts(headerHS256, payloadEve), accepted, nil})
}

// attacksWithPublicKeys sign HS256 with a public key, in all the forms it may be known in.
func attacksWithPublicKeys(tb testing.TB) (all []attack) {
	k := harness.Keys()
	servers := attacked(tb)
	for name, key := range publicKeys() {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			tb.Fatal(err)
		}
		text := harness.PublicPEM(tb, key)
		secrets := map[string][]byte{
			"PEM":                   []byte(strings.TrimSpace(text)),
			"PEM with line feed":    []byte(text),
			"PEM with two":          []byte(text + "\n"),
			"PEM with CRLF":         []byte(strings.ReplaceAll(text, "\n", "\r\n")),
			"PEM without linebreak": []byte(strings.ReplaceAll(text, "\n", "")),
			"DER":                   der,
			"base64 of DER":         []byte(base64.StdEncoding.EncodeToString(der)),
			"nothing":               {},
		}
		switch key := key.(type) {
		case *rsa.PublicKey:
			secrets["modulus"] = key.N.Bytes()
			secrets["modulus in hex"] = []byte(key.N.Text(16))
			secrets["PKCS 1 DER"] = x509.MarshalPKCS1PublicKey(key)
			secrets["PKCS 1 PEM"] = []byte(harness.PEM("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(key)))
		case *ecdsa.PublicKey:
			if secrets["point"], err = key.Bytes(); err != nil {
				tb.Fatal(err)
			}
			secrets["X"] = key.X.Bytes()
		case ed25519.PublicKey:
			secrets["raw"] = key
		}
		for form, secret := range secrets {
			methods := []jwt.SigningMethod{jwt.SigningMethodHS256}
			if strings.HasPrefix(form, "PEM") {
				methods = append(methods, jwt.SigningMethodHS384, jwt.SigningMethodHS512)
			}
			for _, method := range methods {
				raw := harness.Sign(tb, method, secret, jwt.MapClaims{"sub": "eve"})
				for on := range servers {
					if strings.HasPrefix(on, name+" ") {
						all = append(all, attack{method.Alg() + " with " + form, on, raw, invalidAlgorithm, nil})
					}
				}
			}
		}
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	return append(all,
		attack{"a good RS256", "RSA PEM string", harness.Sign(tb, jwt.SigningMethodRS256, k.RSA, jwt.MapClaims{"sub": "eve"}), accepted, nil},
		attack{"RS256 of another key", "RSA PEM string", harness.Sign(tb, jwt.SigningMethodRS256, other, jwt.MapClaims{}), invalidSignature, nil},
		attack{"RS256 on Ed25519", "Ed25519 key", harness.Sign(tb, jwt.SigningMethodRS256, k.RSA, jwt.MapClaims{}), invalidAlgorithm, nil},
		attack{"RS256 as PS256", "RSA key", exchangeHeader(harness.Sign(tb, jwt.SigningMethodRS256, k.RSA, jwt.MapClaims{}), `{"alg":"PS256"}`), invalidSignature, nil},
	)
}

func exchangeHeader(raw, header string) string {
	return encode64(header) + raw[strings.Index(raw, "."):]
}

func attacksOnCrit(tb testing.TB) (all []attack) {
	for _, crit := range []string{`["exp"]`, `["b64"],"b64":false`, `["alg"]`, `["x"],"x":1`, `[]`, `"exp"`, `null`, `{}`, `[1]`, `[""]`, `0`} {
		raw := harness.SignParts(`{"alg":"HS256","crit":`+crit+`}`, payloadEve)
		all = append(all, attack{"crit " + crit, "", raw, invalidAlgorithm, nil}, attack{"crit " + crit, keyOfTheCallback, raw, invalidAlgorithm, nil})
	}
	return all
}

// attacksWithKeysInTheHeader bring the attacker's own key.
func attacksWithKeysInTheHeader(tb testing.TB) (all []attack) {
	k := harness.Keys()
	eve, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	// Nobody may ask for this.
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { tb.Error("a URL of the header was fetched") }))
	tb.Cleanup(server.Close)
	certificate, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, &eve.PublicKey, eve)
	if err != nil {
		tb.Fatal(err)
	}
	jwk := map[string]any{"kty": "RSA", "kid": "ours", "n": base64.RawURLEncoding.EncodeToString(eve.N.Bytes()), "e": "AQAB"}
	for name, header := range map[string]map[string]any{
		"jwk":  {"jwk": jwk},
		"jku":  {"jku": server.URL + "/jwks.json"},
		"x5u":  {"x5u": server.URL + "/cert.pem"},
		"x5c":  {"x5c": []string{base64.StdEncoding.EncodeToString(certificate)}},
		"pem":  {"pem": harness.PublicPEM(tb, &eve.PublicKey), "key": harness.PublicPEM(tb, &eve.PublicKey)},
		"keys": {"keys": []any{jwk}},
	} {
		header["kid"] = "ours"
		token := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{"sub": "eve"})
		maps.Copy(token.Header, header)
		forged, err := token.SignedString(eve)
		if err != nil {
			tb.Fatal(err)
		}
		ours, err := token.SignedString(k.RSA) // the header is no harm in a token that is good
		if err != nil {
			tb.Fatal(err)
		}
		for _, on := range []string{"RSA PEM string", "RSA key of a callback", keysOfTheCallback} {
			all = append(all, attack{name + " of the attacker", on, forged, invalidSignature, "ours"}, attack{name + ", ours", on, ours, accepted, "ours"})
		}
	}
	oct := fmt.Sprintf(`{"alg":"HS256","jwk":{"kty":"oct","k":%q}}`, encode64("eve"))
	sig, err := jwt.SigningMethodHS256.Sign(unsigned(oct, payloadEve), []byte("eve"))
	if err != nil {
		tb.Fatal(err)
	}
	all = append(all, attack{"jwk oct", "", unsigned(oct, payloadEve) + "." + base64.RawURLEncoding.EncodeToString(sig), invalidSignature, nil})

	for _, kid := range []any{
		"../../etc/passwd", "/dev/null", "ours/../../x", `' UNION SELECT 'eve' -- `, "x'; DROP TABLE keys; --", "a\x00b", "\x00", "", "| sleep 10",
		"${jndi:ldap://127.0.0.1/}", "%2e%2e%2f", "../../" + strings.Repeat("a", 4<<10), "\u202e\U0001f600", 1.5, true, nil, []any{"ours"}, map[string]any{"ours": "ours"},
	} {
		header, err := json.Marshal(map[string]any{"alg": "HS256", "kid": kid})
		if err != nil {
			tb.Fatal(err)
		}
		if kid == nil {
			kid = json.RawMessage(nil) // present, and null
		}
		name := fmt.Sprintf("kid %.40q", header)
		text := unsigned(string(header), payloadEve)
		all = append(all,
			attack{name, keyOfTheCallback, harness.SignParts(string(header), payloadEve), accepted, kid},
			attack{name + ", forged", keyOfTheCallback, text + ".AAAA", invalidSignature, kid},
			// An empty key, or that of /dev/null.
			attack{name + ", key of nothing", "", text + "." + emptyKeySignature(tb, text), invalidSignature, nil},
		)
	}
	return append(all, attack{"kid unknown", keysOfTheCallback, harness.Sign(tb, jwt.SigningMethodRS256, k.RSA, jwt.MapClaims{}), "unknown kid", nil})
}

func emptyKeySignature(tb testing.TB, text string) string {
	tb.Helper()
	sig, err := jwt.SigningMethodHS256.Sign(text, []byte{})
	if err != nil {
		tb.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(sig)
}

func attacksOnTheSignature(tb testing.TB) (all []attack) {
	// One that base64 writes with letters that base64url has not, with + and /.
	raw := ""
	for i := 0; ; i++ {
		raw = harness.SignHS256(tb, jwt.MapClaims{"sub": fmt.Sprint("eve", i)})
		if sig := raw[strings.LastIndex(raw, ".")+1:]; strings.Contains(sig, "-") && strings.Contains(sig, "_") {
			break
		}
	}
	head, sig := raw[:strings.LastIndex(raw, ".")+1], raw[strings.LastIndex(raw, ".")+1:]
	another := harness.SignHS256(tb, jwt.MapClaims{"sub": "another"})
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for bits := 1; bits < 4; bits++ { // 32 bytes leave two bits of the last letter unused
		last := alphabet[strings.IndexByte(alphabet, sig[len(sig)-1])^bits]
		all = append(all, attack{fmt.Sprint("trailing bits ", bits), "", head + sig[:len(sig)-1] + string(last), invalidSignature, nil})
	}
	for cut := 1; cut < len(sig); cut += 7 {
		want := invalidSignature
		if (len(sig)-cut)%4 == 1 {
			want = malformed // no number of bytes has that many letters
		}
		all = append(all, attack{fmt.Sprint("without its last ", cut), "", head + sig[:len(sig)-cut], want, nil})
	}
	for name, test := range map[string]struct{ raw, want string }{
		"as it is":              {head + sig, accepted},
		"stripped":              {head, noSignature},
		"stripped with its dot": {strings.TrimSuffix(head, "."), malformed},
		"blank":                 {head + " ", noSignature},
		"NUL":                   {head + "\x00", malformed},
		"padded":                {head + sig + "=", malformed},
		"padded twice":          {head + sig + "==", malformed},
		"standard base64":       {head + strings.NewReplacer("-", "+", "_", "/").Replace(sig), malformed},
		"percent":               {head + url.PathEscape("="+sig), malformed},
		"in hex":                {head + fmt.Sprintf("%x", harness.FromBase64(sig)), invalidSignature},
		"longer":                {head + sig + "A", invalidSignature},
		"longer by two":         {head + sig + "AA", malformed},
		"longer by a byte":      {head + base64.RawURLEncoding.EncodeToString(append(harness.FromBase64(sig), 0)), invalidSignature},
		"twice":                 {head + sig + "." + sig, malformed},
		"of another token":      {head + another[strings.LastIndex(another, ".")+1:], invalidSignature},
		"line feed inside":      {head + sig[:9] + "\n" + sig[9:], invalidSignature},
		"line feed behind":      {head + sig + "\n", invalidSignature},
		"CRLF behind":           {head + sig + "\r\n", invalidSignature},
		"line feed before":      {head + "\n" + sig, invalidSignature},
		"blank before":          {head + " " + sig, malformed},
		"blank behind":          {head + sig + " ", malformed},
		"tab behind":            {head + sig + "\t", malformed},
		"all bits set":          {head + base64.RawURLEncoding.EncodeToString(slices.Repeat([]byte{255}, 32)), invalidSignature},
	} {
		all = append(all, attack{"signature " + name, "", test.raw, test.want, nil})
	}
	return all
}

// attacksOnECDSA and its neighbours: signatures that are numbers.
func attacksOnECDSA(tb testing.TB) (all []attack) {
	k := harness.Keys()
	text := unsigned(`{"alg":"ES256"}`, payloadEve)
	good, err := jwt.SigningMethodES256.Sign(text, k.P256)
	if err != nil {
		tb.Fatal(err)
	}
	zero, order := make([]byte, 32), elliptic.P256().Params().N
	r, s := good[:32], good[32:]
	one := append(make([]byte, 31), 1)
	der, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(r), new(big.Int).SetBytes(s)})
	if err != nil {
		tb.Fatal(err)
	}
	negated := new(big.Int).Sub(order, new(big.Int).SetBytes(s)).FillBytes(make([]byte, 32))
	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	for name, test := range map[string]struct {
		sig  []byte
		want string
	}{
		"good":               {good, accepted},
		"r and s are 0":      {join(zero, zero), invalidSignature},
		"r is 0":             {join(zero, s), invalidSignature},
		"s is 0":             {join(r, zero), invalidSignature},
		"r is the order":     {join(order.Bytes(), s), invalidSignature},
		"s is the order":     {join(r, order.Bytes()), invalidSignature},
		"both are the order": {join(order.Bytes(), order.Bytes()), invalidSignature},
		"r and s are 1":      {join(one, one), invalidSignature},
		"all bits set":       {slices.Repeat([]byte{255}, 64), invalidSignature},
		"s and r":            {join(s, r), invalidSignature},
		"DER":                {der, invalidSignature},
		"DER, cut":           {der[:64], invalidSignature},
		"short":              {good[:63], invalidSignature},
		"half":               {r, invalidSignature},
		"long":               {join(good, []byte{0}), invalidSignature},
		"zeros in front":     {join([]byte{0}, r, []byte{0}, s), invalidSignature},
		"length of ES384":    {join(make([]byte, 16), r, make([]byte, 16), s), invalidSignature},
		// ECDSA has two signatures for one content. Who has one can make the other, and
		// nothing else: RFC 7515 allows it, and a revocation must not go by the signature.
		"n-s": {join(r, negated), accepted},
	} {
		raw := text + "." + base64.RawURLEncoding.EncodeToString(test.sig)
		for _, on := range []string{"P-256 key", "P-256 PEM bytes of a callback"} {
			all = append(all, attack{"ES256 " + name, on, raw, test.want, nil})
		}
	}
	es384 := harness.Sign(tb, jwt.SigningMethodES384, k.P384, jwt.MapClaims{"sub": "eve"})
	es256 := harness.Sign(tb, jwt.SigningMethodES256, k.P256, jwt.MapClaims{"sub": "eve"})
	all = append(all,
		attack{"ES384 on P-384", "P-384 key", es384, accepted, nil},
		attack{"ES384 on P-256", "P-256 key", es384, invalidAlgorithm, nil},
		attack{"ES256 on P-384", "P-384 key of a callback", es256, invalidAlgorithm, nil},
		attack{"ES384 that says ES256", "P-256 key", exchangeHeader(es384, `{"alg":"ES256"}`), invalidSignature, nil},
		attack{"ES256 that says ES384", "P-256 key", exchangeHeader(es256, `{"alg":"ES384"}`), invalidAlgorithm, nil},
	)

	// Ed25519: S and S plus the order of the group verify where nobody looks (RFC 8032 §5.1.7).
	edText := unsigned(`{"alg":"EdDSA"}`, payloadEve)
	ed := ed25519.Sign(k.Ed25519, []byte(edText))
	group, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	little := slices.Clone(ed[32:])
	slices.Reverse(little)
	shifted := new(big.Int).Add(new(big.Int).SetBytes(little), group).FillBytes(make([]byte, 32))
	slices.Reverse(shifted)
	// RSA: the same for the modulus, and a signature without its leading bytes.
	rsText := unsigned(`{"alg":"RS256"}`, payloadEve)
	rs, err := jwt.SigningMethodRS256.Sign(rsText, k.RSA)
	if err != nil {
		tb.Fatal(err)
	}
	more := new(big.Int).Add(new(big.Int).SetBytes(rs), k.RSA.N).Bytes()
	for name, test := range map[string]struct {
		on, text string
		sig      []byte
		want     string
	}{
		"EdDSA good":            {"Ed25519 PEM string", edText, ed, accepted},
		"EdDSA S plus order":    {"Ed25519 PEM string", edText, join(ed[:32], shifted), invalidSignature},
		"EdDSA zero":            {"Ed25519 PEM string", edText, make([]byte, 64), invalidSignature},
		"EdDSA short":           {"Ed25519 PEM string", edText, ed[:63], invalidSignature},
		"EdDSA long":            {"Ed25519 PEM string", edText, join(ed, []byte{0}), invalidSignature},
		"EdDSA identity":        {"Ed25519 PEM string", edText, join([]byte{1}, make([]byte, 63)), invalidSignature},
		"RS256 good":            {"RSA key", rsText, rs, accepted},
		"RS256 plus modulus":    {"RSA key", rsText, more, invalidSignature},
		"RS256 zero":            {"RSA key", rsText, make([]byte, 256), invalidSignature},
		"RS256 one":             {"RSA key", rsText, join(make([]byte, 255), []byte{1}), invalidSignature},
		"RS256 short":           {"RSA key", rsText, rs[1:], invalidSignature},
		"RS256 with zero ahead": {"RSA key", rsText, join([]byte{0}, rs), invalidSignature},
	} {
		all = append(all, attack{name, test.on, test.text + "." + base64.RawURLEncoding.EncodeToString(test.sig), test.want, nil})
	}
	return all
}

func attacksOnTime(tb testing.TB) (all []attack) {
	now := time.Now().Unix()
	for _, test := range []struct{ on, payload, want string }{
		{"", `"exp":4000000000`, accepted},
		{"", `"exp":4000000000.5`, accepted},
		{"", `"exp":4e9`, accepted},
		{"", `"exp":9e18`, accepted}, // time.Time ends soon after
		{"", `"exp":9223372036854775807`, accepted},
		{"", `"exp":1e19`, accepted},
		{"", `"exp":1e300`, accepted},
		{"", `"exp":-1e300`, expired},
		{"", `"exp":99999999999999999999999`, accepted},
		{"", fmt.Sprintf(`"exp":%d.999`, now-1), expired},
		{"", fmt.Sprintf(`"exp":%d`, now), expired},
		{"", `"exp":0`, expired},
		{"", `"exp":-0`, expired},
		{"", `"exp":1e-400`, expired},
		{"", `"exp":-1`, expired},
		{"", `"exp":-4000000000`, expired},
		{"", `"exp":"4000000000"`, malformed},
		{"", `"exp":""`, malformed},
		{"", `"exp":"never"`, malformed},
		{"", `"exp":1e400`, malformed},
		{"", `"exp":-1e400`, malformed},
		{"", `"exp":Infinity`, malformed},
		{"", `"exp":NaN`, malformed},
		{"", `"exp":0x7fffffff`, malformed},
		{"", `"exp":+4000000000`, malformed},
		{"", `"exp":04000000000`, malformed},
		{"", `"exp":null`, malformed},
		{"", `"exp":true`, malformed},
		{"", `"exp":{}`, malformed},
		{"", `"exp":{"$gt":0}`, malformed},
		{"", `"exp":[4000000000]`, malformed},
		{"", `"EXP":1`, accepted}, // no claim of that name
		{"", `"a":1`, accepted},   // does not expire; see Options.ParserOptions
		{"HMAC, exp required", `"exp":4000000000`, accepted},
		{"HMAC, exp required", `"a":1`, claimRequired},
		{"HMAC, exp required", `"Exp":4000000000`, claimRequired},
		{"HMAC, exp required", `"exp":0`, claimRequired}, // golang-jwt takes 0 for none
		{"HMAC, exp required", `"exp":null`, malformed},
		{"HMAC, numbers as written", `"exp":4000000000.5`, accepted},
		{"HMAC, numbers as written", `"exp":1`, expired},
		{"HMAC, numbers as written", `"exp":0`, expired},
		{"HMAC, numbers as written", `"exp":1e400`, accepted}, // no float64, and further than all of them
		{"HMAC, numbers as written", `"exp":-1e400`, expired},
		{"HMAC, numbers as written", `"exp":"4000000000"`, malformed},
		{"HMAC, struct", `"exp":4000000000.5`, accepted},
		{"HMAC, struct", `"exp":0`, expired},
		{"HMAC, struct", `"exp":-1`, expired},
		{"HMAC, struct", `"exp":1e19`, accepted},
		{"HMAC, struct", `"exp":1e400`, malformed},
		{"HMAC, struct", `"exp":"soon"`, malformed},
		{"HMAC, struct", `"exp":{}`, malformed},
		{"HMAC, leeway", fmt.Sprintf(`"exp":%d`, now-30), accepted},
		{"HMAC, leeway", fmt.Sprintf(`"exp":%d`, now-90), expired},
		{"", fmt.Sprintf(`"nbf":%d`, now-1), accepted},
		{"", fmt.Sprintf(`"nbf":%d`, now+30), notActive},
		{"", `"nbf":4000000000.5`, notActive},
		{"", `"nbf":9223372036854775807`, notActive},
		{"", `"nbf":1e19`, notActive},
		{"", `"nbf":1e300`, notActive},
		{"", `"nbf":-1e300`, accepted},
		{"HMAC, struct", `"nbf":9223372036854775807`, notActive},
		{"HMAC, struct", `"nbf":1e300`, notActive},
		{"HMAC, numbers as written", `"nbf":1e400`, notActive},
		{"", `"nbf":"1"`, malformed},
		{"", `"nbf":null`, malformed},
		{"", `"nbf":1e400`, malformed},
		{"HMAC, leeway", fmt.Sprintf(`"nbf":%d`, now+30), accepted},
		{"HMAC, leeway", fmt.Sprintf(`"nbf":%d`, now+90), notActive},
		{"HMAC, leeway", fmt.Sprintf(`"iat":%d`, now+30), accepted},
		{"HMAC, leeway", fmt.Sprintf(`"iat":%d`, now+90), notActive},
		{"HMAC, iat checked", fmt.Sprintf(`"iat":%d`, now+30), notActive},
		{"HMAC, iat checked", `"iat":1e19`, notActive},
		{"HMAC, iat checked", `"iat":-1e19`, accepted},
		{"HMAC, iat checked", `"iat":{}`, malformed},
		{"", fmt.Sprintf(`"iat":%d`, now+30), accepted}, // RFC 7519 §4.1.6 gives it no meaning for verifying
	} {
		all = append(all, attack{test.payload, test.on, harness.SignParts(headerHS256, `{"sub":"eve",`+test.payload+`}`), test.want, nil})
	}
	return all
}

func attacksOnJSON(tb testing.TB) (all []attack) {
	nested := func(depth int, open, end string) string {
		return strings.Repeat(open, depth) + "1" + strings.Repeat(end, depth)
	}
	for _, test := range []struct{ name, on, header, payload, want string }{
		// Of members with one name the last counts, as encoding/json and JSON.parse have it, but
		// registered claims come once.
		{"alg twice, the last none", "", `{"alg":"HS256","alg":"none"}`, payloadEve, invalidAlgorithm},
		{"alg twice, the first none", "", `{"alg":"none","alg":"HS256"}`, payloadEve, accepted},
		{"alg twice, escaped", "", `{"alg":"HS256","\u0061lg":"none"}`, payloadEve, invalidAlgorithm},
		{"alg in two cases", "", `{"Alg":"none","alg":"HS256","ALG":"none"}`, payloadEve, accepted},
		{"crit twice", "", `{"alg":"HS256","crit":["x"],"crit":[]}`, payloadEve, invalidAlgorithm},
		{"exp twice, the last past", "", headerHS256, `{"sub":"eve","exp":4000000000,"exp":1}`, malformed},
		{"exp twice, the last future", "", headerHS256, `{"sub":"eve","exp":1,"exp":4000000000}`, malformed},
		{"exp twice, the last null", "", headerHS256, `{"sub":"eve","exp":4000000000,"exp":null}`, malformed},
		{"sub twice", "", headerHS256, `{"sub":"bob","sub":"eve"}`, malformed},
		{"sub twice, escaped", "", headerHS256, `{"sub":"bob","s\u0075b":"eve"}`, malformed},
		{"sub in two cases", "", headerHS256, `{"sub":"eve","SUB":"bob"}`, malformed},
		{"sub in two cases, struct", "HMAC, struct", headerHS256, `{"sub":"bob","SUB":"eve"}`, malformed}, // encoding/json takes the last
		{"exp in two cases, struct", "HMAC, struct", headerHS256, `{"sub":"eve","exp":1,"Exp":null}`, malformed},
		{"sub in another case, struct", "HMAC, struct", headerHS256, `{"SUB":"eve"}`, malformed},
		{"sub with a long s, struct", "HMAC, struct", headerHS256, `{"\u017fub":"eve"}`, malformed},
		{"claims in another case", "", headerHS256, `{"sub":"eve","Exp2":1,"ROLE":1,"role":2,"x":{"Sub":1,"sub":2}}`, accepted},
		{"header nested", "", `{"alg":"HS256","x":` + nested(1000, "[", "]") + `}`, payloadEve, accepted},
		{"payload nested", "", headerHS256, `{"sub":"eve","x":` + nested(1000, "[", "]") + `}`, accepted},
		{"payload nested 10,000 deep", "", headerHS256, `{"sub":"eve","x":` + nested(10_000, "[", "]") + `}`, tooLong},
		{"header nested 10,000 deep", bigTokens, `{"alg":"HS256","x":` + nested(10_000, "[", "]") + `}`, payloadEve, malformed},
		{"payload nested 10,000 deep", bigTokens, headerHS256, `{"sub":"eve","x":` + nested(10_000, "[", "]") + `}`, malformed},
		{"payload nested 9,000 deep", bigTokens, headerHS256, `{"sub":"eve","x":` + nested(9_000, "[", "]") + `}`, accepted},
		{"payload nested, no end", bigTokens, headerHS256, strings.Repeat(`{"x":`, 4_000), malformed},
		{"invalid UTF-8 in the header", "", "{\"alg\":\"HS256\",\"x\":\"\xff\xc0\x80\"}", payloadEve, accepted},
		{"invalid UTF-8 in alg", "", "{\"alg\":\"HS256\xff\"}", payloadEve, invalidAlgorithm},
		{"invalid UTF-8 in the payload", "", headerHS256, "{\"sub\":\"eve\",\"x\":\"\xed\xa0\x80\"}", accepted},
		{"invalid UTF-8 outside of strings", "", headerHS256, "{\"sub\":\"eve\"\xff}", malformed},
		{"lone surrogate", "", headerHS256, `{"sub":"eve","x":"\ud800"}`, accepted},
		{"UTF-16", "", headerHS256, "\xff\xfe{\x00}\x00", malformed},
		{"BOM in the header", "", "\xef\xbb\xbf" + headerHS256, payloadEve, malformed},
		{"BOM in the payload", "", headerHS256, "\xef\xbb\xbf" + payloadEve, malformed},
		{"NUL behind the payload", "", headerHS256, payloadEve + "\x00", malformed},
		{"payload array", "", headerHS256, `[{"sub":"eve"}]`, malformed},
		{"payload string", "", headerHS256, `"{\"sub\":\"eve\"}"`, malformed},
		{"payload number", "", headerHS256, `1`, malformed},
		{"payload null", "", headerHS256, `null`, malformed},
		{"payload null, struct", "HMAC, struct", headerHS256, `null`, malformed},
		{"payload true", "", headerHS256, `true`, malformed},
		{"payload empty", "", headerHS256, ``, malformed},
		{"payload twice", "", headerHS256, payloadEve + payloadEve, malformed},
		{"payload and a comment", "", headerHS256, payloadEve + `//`, malformed},
		{"payload with a comma", "", headerHS256, `{"sub":"eve",}`, malformed},
		{"payload indented", "", headerHS256, "\r\n\t " + payloadEve + "\n", accepted},
		{"payload a token", "", headerHS256, harness.SignParts(headerHS256, payloadEve), malformed},
		{"header array", "", `["HS256"]`, payloadEve, malformed},
		{"header null", "", `null`, payloadEve, malformed},
		{"header string", "", `"HS256"`, payloadEve, malformed},
		{"header twice", "", headerHS256 + headerHS256, payloadEve, malformed},
		{"sub an object", "", headerHS256, `{"sub":{"$ne":null}}`, malformed},
		{"sub an array", "", headerHS256, `{"sub":["eve"]}`, malformed},
		{"__proto__", "", headerHS256, `{"sub":"eve","__proto__":{"admin":true},"constructor":1}`, accepted},
	} {
		all = append(all, attack{test.name, test.on, harness.SignParts(test.header, test.payload), test.want, nil})
	}
	return all
}

func attacksOnShape(tb testing.TB) (all []attack) {
	good := harness.SignParts(headerHS256, payloadEve)
	parts := strings.Split(good, ".")
	for name, test := range map[string]struct{ raw, want string }{
		"one part":                  {parts[0], malformed},
		"four parts":                {good + "." + parts[1], malformed},
		"five parts (JWE)":          {strings.Join([]string{encode64(`{"alg":"dir","enc":"A128GCM"}`), "", "AAAA", "AAAA", "AAAA"}, "."), malformed},
		"five parts, nested JWT":    {good + "." + parts[1] + "." + parts[2], malformed},
		"JSON serialisation":        {fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, parts[0], parts[1], parts[2]), malformed},
		"empty parts":               {"..", noSignature},
		"empty header":              {"." + parts[1] + "." + parts[2], malformed},
		"empty payload":             {parts[0] + ".." + parts[2], malformed},
		"dots":                      {strings.Repeat(".", 8000), malformed},
		"blank in front":            {" " + good, malformed},
		"blanks around":             {"  " + good + "  ", malformed},
		"tab in front":              {"\t" + good, malformed},
		"line feed in front":        {"\n" + good, invalidSignature},
		"line feeds around":         {"\n" + good + "\n", invalidSignature},
		"line feed in the header":   {parts[0][:5] + "\n" + parts[0][5:] + "." + parts[1] + "." + parts[2], invalidSignature},
		"CRLF in the payload":       {parts[0] + "." + parts[1][:4] + "\r\n" + parts[1][4:] + "." + parts[2], invalidSignature},
		"line feed before a dot":    {parts[0] + "\n." + parts[1] + "." + parts[2], invalidSignature},
		"blank in the payload":      {parts[0] + "." + parts[1][:4] + " " + parts[1][4:] + "." + parts[2], malformed},
		"NUL behind":                {good + "\x00", malformed},
		"other dots":                {strings.ReplaceAll(good, ".", "\u3002"), malformed},
		"full width letters":        {strings.Replace(good, "e", "\uff45", 1), malformed},
		"quoted":                    {`"` + good + `"`, malformed},
		"two, by comma":             {good + "," + good, malformed},
		"padded header":             {parts[0] + "=." + parts[1] + "." + parts[2], malformed},
		"percent encoded dots":      {strings.ReplaceAll(good, ".", "%2E"), malformed},
		"of the longest length":     {tokenOfLength(tb, maxTokenBytes), accepted},
		"a byte too long":           {tokenOfLength(tb, maxTokenBytes) + "A", tooLong},
		"too long":                  {tokenOfLength(tb, maxTokenBytes+2), tooLong},
		"too long, and no token":    {strings.Repeat("~", maxTokenBytes+1), tooLong},
		"too long, only by letters": {strings.Repeat("\U0001f600", maxTokenBytes/4+1), tooLong},
	} {
		all = append(all, attack{name, "", test.raw, test.want, nil})
	}
	return all
}

// tokenOfLength is a good token that has so many bytes.
func tokenOfLength(tb testing.TB, length int) string {
	tb.Helper()
	for space := range 4 {
		header := strings.Repeat(" ", space) + headerHS256
		for fill := max(0, (length-120)*3/4-8); fill < length; fill++ {
			raw := harness.SignParts(header, `{"sub":"eve","fill":"`+strings.Repeat("x", fill)+`"}`)
			if len(raw) == length {
				return raw
			}
			if len(raw) > length {
				break
			}
		}
	}
	tb.Fatalf("no token has %d bytes", length)
	return ""
}
