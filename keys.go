package socketiojwt

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
)

// The algorithms of RFC 7518 §3.1 and RFC 8037 by the kind of key they take. `none` takes no key,
// so no key leads to it.
var (
	hmacMethods    = []string{"HS256", "HS384", "HS512"}
	rsaMethods     = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	ed25519Methods = []string{"EdDSA"}
	// RFC 7518 §3.4 binds each ECDSA algorithm to one curve; golang-jwt does not check
	// it when verifying.
	curveMethods = map[string][]string{"P-256": {"ES256"}, "P-384": {"ES384"}, "P-521": {"ES512"}}
)

func allMethods() []string {
	return slices.Concat(hmacMethods, rsaMethods, []string{"ES256", "ES384", "ES512"}, ed25519Methods)
}

// keyMethods returns the algorithms that a key from parseKey fits.
func keyMethods(key any) []string {
	switch k := key.(type) {
	case []byte:
		return hmacMethods
	case *rsa.PublicKey:
		return rsaMethods
	case *ecdsa.PublicKey:
		return curveMethods[k.Params().Name]
	case ed25519.PublicKey:
		return ed25519Methods
	}
	return nil
}

var (
	errEmptyKey   = errors.New("the key is empty; pass the HMAC secret or the public key the tokens are signed for")
	errPrivateKey = errors.New("this is a private key; pass its public key: verifying tokens needs no more, and a server that cannot sign cannot leak the means to")
)

// parseKey returns the verification key in what the application gave: []byte, *rsa.PublicKey,
// *ecdsa.PublicKey or ed25519.PublicKey. Its errors never quote the key.
func parseKey(key any) (any, error) {
	switch k := key.(type) {
	case nil:
		return nil, errEmptyKey
	case string:
		return parseBytes([]byte(k))
	case []byte:
		return parseBytes(bytes.Clone(k))
	case rsa.PublicKey:
		return checkRSA(&k)
	case *rsa.PublicKey:
		return checkRSA(k)
	case *ecdsa.PublicKey:
		return checkECDSA(k)
	case ed25519.PublicKey:
		return checkEd25519(k)
	case *ed25519.PublicKey:
		if k == nil {
			return nil, errEmptyKey
		}
		return checkEd25519(*k)
	case crypto.Signer, crypto.Decrypter, rsa.PrivateKey, ecdsa.PrivateKey:
		return nil, errPrivateKey
	}
	return nil, fmt.Errorf("a %T cannot verify tokens; pass a string, []byte, *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey or a jwt.VerificationKeySet of those", key)
}

// parseBytes tells public keys from HMAC secrets. What looks like a public key must never become a
// secret: everybody knows it, so everybody could sign HS256 with it (RFC 8725 §2.1).
func parseBytes(data []byte) (any, error) {
	if len(data) == 0 {
		return nil, errEmptyKey
	}
	if key, err := keyIn(data); key != nil || err != nil {
		return key, err
	}
	return data, nil
}

func parsePEM(text []byte) (any, error) {
	// Keys come out of environment variables, YAML and Go literals: indented and with any line
	// ends, which encoding/pem does not take.
	lines := bytes.Split(text, []byte("\n"))
	for i, line := range lines {
		lines[i] = bytes.TrimSpace(line)
	}
	rest := bytes.Join(lines, []byte("\n"))

	var blocks []*pem.Block
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		// A chain of certificates starts with the one that it is for. Of other blocks only one may
		// be there, because which of several is meant would be a guess.
		if len(blocks) > 0 && (block.Type != "CERTIFICATE" || blocks[0].Type != "CERTIFICATE") {
			return nil, errors.New("there is more than one PEM key; pass them as a jwt.VerificationKeySet")
		}
		blocks = append(blocks, block)
	}
	if len(blocks) == 0 {
		return nil, errors.New(`the PEM cannot be read; pass all of it, from "-----BEGIN" to "-----END ...-----", with real line breaks, not the two characters \n`)
	}

	key, err := parseBlock(blocks[0])
	if err != nil {
		return nil, err
	}
	return parseKey(key)
}

func parseBlock(block *pem.Block) (key any, err error) {
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = cert.PublicKey
		}
	default:
		return nil, fmt.Errorf("PEM block %q is no public key; pass a PUBLIC KEY, RSA PUBLIC KEY or CERTIFICATE", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("PEM block %q cannot be read: %w", block.Type, err)
	}
	return key, nil
}

func checkRSA(k *rsa.PublicKey) (any, error) {
	switch {
	case k == nil || k.N == nil:
		return nil, errEmptyKey
	case k.N.BitLen() < 1024 || k.E < 3 || k.E%2 == 0:
		// crypto/rsa refuses to verify with these.
		return nil, errors.New("the RSA key is broken or shorter than 1024 bits; use one of 2048 bits or more")
	}
	return k, nil
}

func checkECDSA(k *ecdsa.PublicKey) (any, error) {
	if k == nil || k.Curve == nil || k.X == nil || k.Y == nil {
		return nil, errEmptyKey
	}
	if curveMethods[k.Params().Name] == nil {
		return nil, fmt.Errorf("no JWT algorithm uses the curve %s; use a key on P-256, P-384 or P-521", k.Params().Name)
	}
	if _, err := k.Bytes(); err != nil {
		return nil, fmt.Errorf("the ECDSA key is broken: %w", err)
	}
	return k, nil
}

func checkEd25519(k ed25519.PublicKey) (any, error) {
	switch len(k) {
	case 0:
		return nil, errEmptyKey
	case ed25519.PublicKeySize:
		// Not bytes.Clone: it returns []byte, which is the type of an HMAC secret.
		return slices.Clone(k), nil
	}
	return nil, fmt.Errorf("an Ed25519 public key has %d bytes, this one has %d", ed25519.PublicKeySize, len(k))
}

// weakness says what is wrong with a key that works nevertheless, "" if nothing is.
func weakness(key any) string {
	switch k := key.(type) {
	case []byte:
		if len(k) < 32 {
			return "the HMAC secret is shorter than 32 bytes, which can be guessed from one token (RFC 7518 §3.2)"
		}
	case *rsa.PublicKey:
		if k.N.BitLen() < 2048 {
			return "the RSA key is shorter than 2048 bits (RFC 7518 §3.3)"
		}
	}
	return ""
}
