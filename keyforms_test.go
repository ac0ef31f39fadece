package socketiojwt_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/golang-jwt/jwt/v5"
)

// What a public key looks like after it was copied, converted and configured.

// form is one spelling of a key.
type form struct {
	name string
	text []byte
}

// signer is a private key and an algorithm that it signs with.
type signer struct {
	name    string
	private crypto.Signer
	method  jwt.SigningMethod
}

func signers() []signer {
	k := harness.Keys()
	return []signer{
		{"RSA", k.RSA, jwt.SigningMethodRS256},
		{"P-256", k.P256, jwt.SigningMethodES256},
		{"P-384", k.P384, jwt.SigningMethodES384},
		{"P-521", k.P521, jwt.SigningMethodES512},
		{"Ed25519", k.Ed25519, jwt.SigningMethodEdDSA},
	}
}

// der is a DER structure and the label that it has in a PEM.
type der struct {
	label string
	bytes []byte
}

func publicDERs(t *testing.T, private crypto.Signer) []der {
	t.Helper()
	spki, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	ders := []der{{"PUBLIC KEY", spki}, {"CERTIFICATE", certificate}}
	if k, ok := private.Public().(*rsa.PublicKey); ok {
		ders = append(ders, der{"RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(k)})
	}
	return ders
}

// certainForms are those that can be nothing but d.
func certainForms(d der) []form {
	text := harness.PEM(d.label, d.bytes)
	base := base64.StdEncoding.EncodeToString(d.bytes)
	body := withoutFirstAndLastLine(text)
	return []form{
		{"DER", d.bytes},
		{"base64", []byte(base)},
		{"base64 and a new line", []byte(base + "\n")},
		{"base64 unpadded", []byte(base64.RawStdEncoding.EncodeToString(d.bytes))},
		{"base64url", []byte(base64.URLEncoding.EncodeToString(d.bytes))},
		{"base64url unpadded", []byte(base64.RawURLEncoding.EncodeToString(d.bytes))},
		{"base64 in quotes", []byte(`"` + base + `"`)},
		{"base64 in base64", []byte(base64.StdEncoding.EncodeToString([]byte(base)))},
		{"base64 in UTF-16", utf16Of(binary.LittleEndian, base)},
		{"hex", []byte(hex.EncodeToString(d.bytes))},
		{"PEM body", []byte(body)},
		{"PEM body, CRLF", []byte(strings.ReplaceAll(body, "\n", "\r\n"))},
		{"PEM body, spaces", []byte(strings.ReplaceAll(body, "\n", " "))},
		{"PEM body, indented", []byte("  " + strings.ReplaceAll(body, "\n", "\n  "))},
		{"PEM", []byte(text)},
		{"PEM in base64", []byte(base64.StdEncoding.EncodeToString([]byte(text)))},
		{"PEM in base64url", []byte(base64.RawURLEncoding.EncodeToString([]byte(text)))},
		{"PEM in base64 twice", []byte(base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString([]byte(text)))))},
		{"PEM in UTF-8 with BOM", []byte("\ufeff" + text)},
		{"PEM in UTF-16LE", utf16Of(binary.LittleEndian, text)},
		{"PEM in UTF-16BE", utf16Of(binary.BigEndian, text)},
		{"PEM in UTF-16LE with BOM", utf16Of(binary.LittleEndian, "\ufeff"+text)},
		{"PEM in UTF-16BE with BOM", utf16Of(binary.BigEndian, "\ufeff"+text)},
		{"PEM in UTF-16 in base64", []byte(base64.StdEncoding.EncodeToString(utf16Of(binary.LittleEndian, "\ufeff"+text)))},
	}
}

// doubtfulForms are those in which something of d is missing, or more than d.
func doubtfulForms(d der) []form {
	text := harness.PEM(d.label, d.bytes)
	base := base64.StdEncoding.EncodeToString(d.bytes)
	body := withoutFirstAndLastLine(text)
	oneLine := strings.ReplaceAll(text, "\n", "")
	return []form{
		{"DER and a new line", append(bytes.Clone(d.bytes), '\n')},
		{"DER without an end", d.bytes[:len(d.bytes)-1]},
		{"base64 without an end", []byte(base[:len(base)-4])},
		{"base64 and its name", []byte("public_key=" + base)},
		{"base64 in JSON", []byte(`{"realm":"chat","public_key":"` + base + `"}`)},
		{"base64 in XML", []byte("<X509Certificate>" + base + "</X509Certificate>")},
		{`PEM body with \n`, []byte(strings.ReplaceAll(body, "\n", `\n`))},
		{"PEM without line breaks", []byte(oneLine)},
		{"PEM with spaces", []byte(strings.ReplaceAll(text, "\n", " "))},
		{`PEM with \n`, []byte(strings.ReplaceAll(text, "\n", `\n`))},
		{"PEM without its first line", []byte(text[strings.Index(text, "\n")+1:])},
		{"PEM without its last line", []byte(strings.Split(text, "-----END")[0])},
		{"PEM of which the first dashes and the last line are missing", []byte(strings.TrimLeft(strings.Split(text, "-----END")[0], "-"))},
		{"PEM of which the first line and the last dashes are missing", []byte(strings.TrimRight(text[strings.Index(text, "\n")+1:], "-\n"))},
		{"PEM of which the last line and the dashes before the body are missing", []byte("-----BEGIN " + d.label + "\n" + body)},
		{"PEM without its first dashes", []byte(strings.TrimLeft(text, "-"))},
		{"PEM without line breaks in base64", []byte(base64.StdEncoding.EncodeToString([]byte(oneLine)))},
		{"PEM without line breaks in UTF-16", utf16Of(binary.LittleEndian, oneLine)},
	}
}

func withoutFirstAndLastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[1:len(lines)-1], "\n") + "\n"
}

func utf16Of(order binary.AppendByteOrder, text string) (encoded []byte) {
	for _, unit := range utf16.Encode([]rune(text)) {
		encoded = order.AppendUint16(encoded, unit)
	}
	return encoded
}

// forgeries are tokens of somebody who knows what was configured and what it stands for.
func forgeries(t *testing.T, known ...[]byte) (tokens []string) {
	t.Helper()
	for _, secret := range known {
		for _, guess := range [][]byte{
			secret, bytes.TrimSpace(secret), append(bytes.Clone(secret), '\n'),
			[]byte(base64.StdEncoding.EncodeToString(secret)), decoded(secret),
		} {
			tokens = append(tokens, harness.Sign(t, jwt.SigningMethodHS256, guess, jwt.MapClaims{}))
		}
	}
	return tokens
}

// decoded returns what text stands for in base64, up to where it is none.
func decoded(text []byte) []byte {
	b, _ := base64.StdEncoding.DecodeString(string(text))
	return b
}

// asGiven are the ways to configure text.
func asGiven(text []byte) map[string]socketiojwt.Secret {
	return map[string]socketiojwt.Secret{
		"StaticSecret of a string":      socketiojwt.StaticSecret(string(text)),
		"StaticSecret of bytes":         socketiojwt.StaticSecret(text),
		"SecretFunc returning a string": harness.SecretReturning(string(text)),
		"SecretFunc returning bytes":    harness.SecretReturning(text),
	}
}

func checkIsPublicKey(t *testing.T, f form, genuine string, forged []string) {
	t.Helper()
	for way, secret := range asGiven(f.text) {
		a, err := socketiojwt.Authorize(socketiojwt.Options{Secret: secret})
		if err != nil {
			t.Errorf("%s: %v", way, err)
			continue
		}
		if _, err := a.Verify(t.Context(), testRequest, genuine); err != nil {
			t.Errorf("%s: a genuine token is refused: %v", way, err)
		}
		for i, token := range forged {
			if _, err := a.Verify(t.Context(), testRequest, token); !errors.Is(err, tokenRefusal("invalid algorithm")) {
				t.Errorf("%s: forged token %d: %v", way, i, err)
			}
		}
	}
}

func checkIsRefused(t *testing.T, f form, whatToDo string, forged []string) {
	t.Helper()
	for _, key := range []any{string(f.text), f.text} {
		_, err := socketiojwt.Authorize(socketiojwt.Options{Secret: socketiojwt.StaticSecret(key)})
		if err == nil || !strings.HasPrefix(err.Error(), "socketiojwt: Secret: ") || !strings.Contains(err.Error(), whatToDo) {
			t.Errorf("StaticSecret of a %T: %v", key, err)
		}
		var log bytes.Buffer
		a := harness.Authorize(t, socketiojwt.Options{Secret: harness.SecretReturning(key), Logger: logger(&log)})
		for i, token := range forged {
			log.Reset()
			_, err := a.Verify(t.Context(), testRequest, token)
			if !errors.Is(err, secretUnavailable) {
				t.Errorf("SecretFunc returning a %T, forged token %d: %v", key, i, err)
			}
			if !strings.Contains(log.String(), "callback=Secret") || !strings.Contains(log.String(), whatToDo) {
				t.Errorf("SecretFunc returning a %T, forged token %d: the log says %q", key, i, &log)
			}
		}
	}
}

func TestPublicKeysInTextOrDERAreNeverHMACSecrets(t *testing.T) {
	t.Parallel()
	for _, s := range signers() {
		genuine := harness.Sign(t, s.method, s.private, jwt.MapClaims{"sub": "a"})
		for _, d := range publicDERs(t, s.private) {
			known := [][]byte{d.bytes, []byte(harness.PEM(d.label, d.bytes))}
			for _, f := range certainForms(d) {
				t.Run(s.name+"/"+d.label+"/"+f.name, func(t *testing.T) {
					checkIsPublicKey(t, f, genuine, forgeries(t, append(known, f.text)...))
				})
			}
			for _, f := range doubtfulForms(d) {
				t.Run(s.name+"/"+d.label+"/"+f.name, func(t *testing.T) {
					checkIsRefused(t, f, "-----BEGIN", forgeries(t, append(known, f.text)...))
				})
			}
		}
	}
}

func TestPrivateKeysInTextOrDERAreRefusedAsSuch(t *testing.T) {
	t.Parallel()
	for _, s := range signers() {
		pkcs8, err := x509.MarshalPKCS8PrivateKey(s.private)
		if err != nil {
			t.Fatal(err)
		}
		ders := []der{{"PRIVATE KEY", pkcs8}}
		switch k := s.private.(type) {
		case *rsa.PrivateKey:
			ders = append(ders, der{"RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(k)})
		case *ecdsa.PrivateKey:
			sec1, err := x509.MarshalECPrivateKey(k)
			if err != nil {
				t.Fatal(err)
			}
			ders = append(ders, der{"EC PRIVATE KEY", sec1})
		}
		for _, d := range ders {
			text := harness.PEM(d.label, d.bytes)
			forms := append(certainForms(d),
				form{"PEM without line breaks", []byte(strings.ReplaceAll(text, "\n", ""))},
				form{`PEM with \n`, []byte(strings.ReplaceAll(text, "\n", `\n`))},
				form{"PEM without its first line", []byte(text[strings.Index(text, "\n")+1:])},
				form{"PEM without its last line", []byte(strings.Split(text, "-----END")[0])},
			)
			for _, f := range forms {
				t.Run(s.name+"/"+d.label+"/"+f.name, func(t *testing.T) {
					checkIsRefused(t, f, "private key", forgeries(t, f.text))
				})
			}
			for _, f := range doubtfulForms(d) {
				t.Run(s.name+"/"+d.label+"/"+f.name, func(t *testing.T) {
					checkIsRefused(t, f, "key", forgeries(t, f.text))
				})
			}
		}
	}
}

// Keys that no JWT algorithm uses are keys nevertheless.
func TestOtherKeysAreNoHMACSecretsEither(t *testing.T) {
	t.Parallel()
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, harness.Keys().RSA)
	if err != nil {
		t.Fatal(err)
	}
	spki := func(public any) []byte {
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	unknown := func(bytes int, oid ...int) []byte {
		type algorithm struct{ OID asn1.ObjectIdentifier }
		der, err := asn1.Marshal(struct {
			Algorithm algorithm
			Key       asn1.BitString
		}{algorithm{oid}, asn1.BitString{Bytes: make([]byte, bytes), BitLength: 8 * bytes}})
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	cut := func(bits uint) []byte {
		n := new(big.Int).Lsh(big.NewInt(1), bits-1)
		return x509.MarshalPKCS1PublicKey(&rsa.PublicKey{N: n, E: 3})[:100]
	}
	blob := "\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + string(harness.Keys().Ed25519Public)
	ssh := base64.StdEncoding.EncodeToString([]byte(blob))
	for name, tc := range map[string]struct {
		data     []byte
		whatToDo string
	}{
		"P-224":               {spki(&p224.PublicKey), "P-224"},
		"X25519":              {spki(x25519.PublicKey()), "cannot verify"},
		"Ed448":               {unknown(57, 1, 3, 101, 113), "-----BEGIN"},
		"DSA":                 {unknown(128, 1, 2, 840, 10040, 4, 1), "-----BEGIN"},
		"ML-DSA-65":           {unknown(1952, 2, 16, 840, 1, 101, 3, 4, 3, 18), "-----BEGIN"},
		"RSA of 1024, cut":    {cut(1024), "-----BEGIN"},
		"RSA of 2048, cut":    {cut(2048), "-----BEGIN"},
		"RSA of 3072, cut":    {cut(3072), "-----BEGIN"},
		"RSA of 4096, cut":    {cut(4096), "-----BEGIN"},
		"certificate request": {request, "-----BEGIN"},
		"RSA of 512 bits":     {x509.MarshalPKCS1PublicKey(&rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 511, 1), E: 65537}), "2048"},
		"SSH key":             {[]byte("ssh-ed25519 " + ssh + " bob@example"), "ssh-keygen"},
		"SSH key, DSA":        {[]byte("ssh-dss AAAAB3NzaC1kc3MAAACBAP8AAAAAAAAA"), "ssh-keygen"},
		"SSH key, RSA":        {[]byte("bob.example ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7 bob"), "ssh-keygen"},
		"SSH key, ECDSA":      {[]byte("bob.example ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY="), "ssh-keygen"},
		"SSH key, RFC 4716":   {[]byte("---- BEGIN SSH2 PUBLIC KEY ----\n" + ssh), "ssh-keygen"},
		"SSH key, options":    {[]byte("no-pty ssh-ed25519 " + ssh), "ssh-keygen"},
		"SSH key, no name":    {[]byte(ssh), "ssh-keygen"},
		"SSH key, bytes":      {[]byte(blob), "ssh-keygen"},
		"SSH key, UTF-16":     {utf16Of(binary.LittleEndian, "ssh-ed25519 "+ssh), "ssh-keygen"},
	} {
		for _, f := range []form{{"plain", tc.data}, {"base64", []byte(base64.StdEncoding.EncodeToString(tc.data))}} {
			t.Run(name+"/"+f.name, func(t *testing.T) { checkIsRefused(t, f, tc.whatToDo, forgeries(t, f.text)) })
		}
	}
}

// Where a key is can be guessed, so it is no secret.
func TestThePlaceOfAKeyIsNoSecret(t *testing.T) {
	for place, whatToDo := range map[string]string{
		"public.pem":             "os.ReadFile",
		"/etc/keys/PUBLIC.PEM\n": "os.ReadFile",
		`C:\keys\idp.crt`:        "os.ReadFile",
		"keys/jwt.key":           "os.ReadFile",
		"keys/jwt.pub":           "os.ReadFile",
		"keys/idp.jwks":          "os.ReadFile",
		"keys/jwks.json":         "os.ReadFile",
		`C:\Program Files\jwt\our keys\public.pem`:  "os.ReadFile",
		"file:///etc/keys/public.txt":               "os.ReadFile",
		"https://idp.example/.well-known/jwks.json": "Keyfunc",
		"HTTP://127.0.0.1:8080/realms/demo":         "Keyfunc",
	} {
		f := form{place, []byte(place)}
		t.Run(place, func(t *testing.T) { checkIsRefused(t, f, whatToDo, forgeries(t, f.text)) })
	}
}

func TestSecretsThatAreNoKeysStaySecrets(t *testing.T) {
	t.Parallel()
	random := func(n int) []byte {
		b := make([]byte, n)
		_, _ = rand.Read(b) // it never fails
		return b
	}
	secrets := map[string][]byte{
		"words":                   []byte("correct horse battery staple, and some more words of the public and private kind"),
		"dashes":                  []byte("----------------------------------------------------------------"),
		"JSON":                    []byte(`{"a":1,"secret":"` + strings.Repeat("x", 60) + `"}`),
		"JSON, keys":              []byte(`{"keys":"` + strings.Repeat("x", 60) + `"}`),
		"JSON, broken":            []byte(`{"a":` + strings.Repeat("[", 60)),
		"JSON in base64":          []byte(base64.StdEncoding.EncodeToString([]byte(`{"a":1,"secret":"` + strings.Repeat("x", 60) + `"}`))),
		"XML":                     []byte("<secret>" + base64.StdEncoding.EncodeToString(random(64)) + "</secret>"),
		"a token":                 []byte(harness.SignHS256(t, jwt.MapClaims{})),
		"like base64 of a key":    []byte("MIIB" + base64.StdEncoding.EncodeToString(random(64))),
		"like DER":                append([]byte{0x30, 62}, random(62)...),
		"a sequence":              append([]byte{0x30, 62, 0x04, 60}, random(60)...),
		"UTF-8 with BOM":          append([]byte("\ufeff"), random(60)...),
		"UTF-16":                  utf16Of(binary.LittleEndian, "\ufeffa secret of at least thirty-two bytes"),
		"a word":                  []byte("key"),
		"a name":                  []byte("correct.horse.battery.staple.pem.and.more"),
		"an address among others": []byte("https://www.example.com is where this secret of ours is used"),
		"zeros":                   make([]byte, 64),
		"blank":                   []byte(strings.Repeat(" ", 64)),
		"blanks around":           append(append([]byte(" \n"), random(64)...), " \n"...),
	}
	for name, encode := range map[string]func([]byte) string{
		"bytes": func(b []byte) string { return string(b) }, "hex": hex.EncodeToString,
		"base64": base64.StdEncoding.EncodeToString, "base64url": base64.RawURLEncoding.EncodeToString,
	} {
		for _, n := range []int{32, 44, 48, 64, 128, 1024} {
			for i := range 20 {
				secrets[fmt.Sprint(name, " ", n, " ", i)] = []byte(encode(random(n)))
			}
		}
	}
	for name, secret := range secrets {
		token := harness.Sign(t, jwt.SigningMethodHS256, secret, jwt.MapClaims{})
		for way, s := range asGiven(secret) {
			a, err := socketiojwt.Authorize(socketiojwt.Options{Secret: s})
			if err != nil {
				t.Errorf("%s, %s: %v", name, way, err)
				continue
			}
			if _, err := a.Verify(t.Context(), testRequest, token); err != nil {
				t.Errorf("%s, %s: %q: %v", name, way, secret, err)
			}
		}
	}
}
