package socketiojwt

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"unicode/utf8"
)

// shortestKey is a length in bytes that every key in DER exceeds, and few secrets do. The shortest
// key, an Ed25519 key in SPKI, has 44 bytes.
const shortestKey = 40

var errUnreadableKey = errors.New(`this looks like a key, but is incomplete, or has something else beside it; pass the public key as PEM, from "-----BEGIN PUBLIC KEY-----" to "-----END PUBLIC KEY-----"`)

// keyIn returns the public key that data is another form of, nil if data is none. An error means
// that data is a key, or looks like one, and cannot be used.
func keyIn(data []byte) (any, error) {
	if key, err := fromDER(data); key != nil || err != nil {
		return key, err
	}
	text := plainText(data)
	for _, from := range []func([]byte) (any, error){fromPEMOrSSH, fromJWK, fromEncoded, fromPlace} {
		if key, err := from(text); key != nil || err != nil {
			return key, err
		}
	}
	return nil, nil
}

// derMarks are byte sequences, one of which is in every key in DER that is in use. Random bytes do
// not have them.
var derMarks = [][]byte{
	{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01}, // the OIDs of PKCS: RSA in SPKI and PKCS #8
	{0x2a, 0x86, 0x48, 0xce},                   // of ANSI X9: ECDSA, P-256, DSA
	{0x06, 0x03, 0x2b, 0x65},                   // of RFC 8410: Ed25519, X25519
	{0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04}, // of NIST: ML-DSA
	{0x02, 0x01, 0x01, 0x04},                   // the version of a private key of SEC 1
	{0x02, 0x81, 0x81, 0x00},                   // a modulus of 1024 bits, as in PKCS #1
	{0x02, 0x82, 0x01, 0x01, 0x00},             // of 2048
	{0x02, 0x82, 0x01, 0x81, 0x00},             // of 3072
	{0x02, 0x82, 0x02, 0x01, 0x00},             // of 4096
}

func fromDER(data []byte) (any, error) {
	const sequence = 0x30 // what all of them are
	if len(data) < shortestKey || data[0] != sequence {
		return nil, nil
	}
	if isWhole(data) {
		if key := publicDER(data); key != nil {
			return parseKey(key)
		}
		if isPrivateDER(data) {
			return nil, errPrivateKey
		}
	}
	if containsAny(data, derMarks) {
		return nil, errUnreadableKey
	}
	return nil, nil
}

// isWhole reports whether data has the length that it says. Text that begins with the character 0,
// which is the byte of a sequence, has not.
func isWhole(data []byte) bool {
	var outer asn1.RawValue
	rest, err := asn1.Unmarshal(data, &outer)
	return err == nil && len(rest) == 0
}

func publicDER(der []byte) any {
	if key, err := x509.ParsePKIXPublicKey(der); err == nil {
		return key
	}
	if key, err := x509.ParsePKCS1PublicKey(der); err == nil {
		return key
	}
	if cert, err := x509.ParseCertificate(der); err == nil {
		return cert.PublicKey
	}
	return nil
}

func isPrivateDER(der []byte) bool {
	_, notPKCS8 := x509.ParsePKCS8PrivateKey(der)
	_, notPKCS1 := x509.ParsePKCS1PrivateKey(der)
	_, notSEC1 := x509.ParseECPrivateKey(der)
	return notPKCS8 == nil || notPKCS1 == nil || notSEC1 == nil
}

// plainText returns text without what editors, and the shells of Windows, add: a byte order mark,
// and the zero bytes of UTF-16.
func plainText(text []byte) []byte {
	if bytes.IndexByte(text, 0) >= 0 {
		text = bytes.ReplaceAll(text, []byte{0}, nil)
	}
	for _, mark := range []string{"\xef\xbb\xbf", "\xff\xfe", "\xfe\xff"} {
		text = bytes.TrimPrefix(text, []byte(mark))
	}
	return bytes.TrimSpace(text)
}

var (
	// pemMarks are what a PEM still has when a part of it is missing.
	pemMarks = [][]byte{[]byte("-----BEGIN"), []byte("KEY-----"), []byte("CERTIFICATE-----")}
	sshMarks = [][]byte{[]byte("ssh-rsa"), []byte("ssh-ed25519"), []byte("ecdsa-sha2-"), []byte("---- BEGIN SSH2")}
)

func fromPEMOrSSH(text []byte) (any, error) {
	switch {
	case bytes.IndexByte(text, '-') < 0: // most secrets have none, and need no closer look
		return nil, nil
	case containsAny(text, pemMarks) && bytes.Contains(text, []byte("PRIVATE KEY")):
		return nil, errPrivateKey
	case containsAny(text, pemMarks):
		return parsePEM(text)
	case bytes.HasPrefix(text, []byte("ssh-")), containsAny(text, sshMarks):
		return nil, errors.New("this is an SSH public key; convert it to PEM: ssh-keygen -e -m PKCS8 -f key.pub")
	}
	return nil, nil
}

// fromEncoded looks for a key in base64, of both alphabets, and hex. One that is a word among
// others is an error: what the other words are is unknown.
func fromEncoded(text []byte) (any, error) {
	if base64.RawStdEncoding.DecodedLen(len(text)) < shortestKey || !utf8.Valid(text) {
		return nil, nil
	}
	digits := bytes.Trim(digitsOf(text), noDigit)
	for word := range bytes.SplitSeq(digits, []byte(noDigit)) {
		key, err := decodedKey(word)
		if key != nil && len(word) < len(digits) {
			err = errUnreadableKey
		}
		if key != nil || err != nil {
			return key, err
		}
	}
	return nil, nil
}

const noDigit = "."

// digitsOf returns text in the alphabet of base64, with noDigit between the words. Blanks are left
// out, because lines end anywhere.
func digitsOf(text []byte) []byte {
	digits := make([]byte, 0, len(text))
	for _, c := range text {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '+', c == '/':
			digits = append(digits, c)
		case c == '-':
			digits = append(digits, '+')
		case c == '_':
			digits = append(digits, '/')
		case c == ' ', c == '\t', c == '\r', c == '\n':
		default:
			digits = append(digits, noDigit[0])
		}
	}
	return digits
}

// decodedKey is keyIn for what a word stands for, up to where the word is broken.
func decodedKey(word []byte) (any, error) {
	if base64.RawStdEncoding.DecodedLen(len(word)) < shortestKey {
		return nil, nil
	}
	decode := base64.RawStdEncoding.Decode
	if bytes.HasPrefix(word, []byte("30")) { // of DER in hex; in base64 neither DER nor text
		decode = hex.Decode
	}
	decoded := make([]byte, len(word))
	n, _ := decode(decoded, word)
	return keyIn(decoded[:n])
}

func containsAny(data []byte, marks [][]byte) bool {
	for _, mark := range marks {
		if bytes.Contains(data, mark) {
			return true
		}
	}
	return false
}

// keyFiles are what the names of files with keys end in.
var keyFiles = [][]byte{[]byte(".pem"), []byte(".crt"), []byte(".cer"), []byte(".der"), []byte(".key"), []byte(".pub"),
	[]byte(".jwk"), []byte(".jwks"), []byte(".json")}

// fromPlace returns an error where text says where a key is: that can be guessed.
func fromPlace(text []byte) (any, error) {
	dot := bytes.LastIndexByte(text, '.')
	scheme, _, isURL := bytes.Cut(text, []byte("://"))
	isURL = isURL && !bytes.ContainsAny(text, " \t\r\n")
	switch {
	case isURL && (bytes.EqualFold(scheme, []byte("http")) || bytes.EqualFold(scheme, []byte("https"))):
		return nil, errors.New("this is the URL of a key; get the key from there, with a JWKS client and Keyfunc")
	case isURL && bytes.EqualFold(scheme, []byte("file")),
		dot >= 0 && slices.ContainsFunc(keyFiles, func(end []byte) bool { return bytes.EqualFold(text[dot:], end) }):
		return nil, errors.New("this is the name of a file; pass what is in it, from os.ReadFile")
	}
	return nil, nil
}
