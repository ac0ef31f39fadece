package socketiojwt

import (
	"context"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// identify finds the user of a token.
func (a *Authorizer) identify(ctx context.Context, r *Request, v *verified) (refusal *UnauthorizedError) {
	v.identity = defaultIdentity(v.issuer, v.subject)
	if a.opts.Identity != nil {
		var err error
		if v.identity, err = callIdentity(a.opts.Identity, v.token); err != nil {
			return a.callbackRefusal(ctx, r, "Identity", err, errUnauthorized(err))
		}
	}
	if a.opts.SingleSession && v.identity == "" {
		return errClaimRequired().dueTo("SingleSession")
	}
	return nil
}

// callIdentity calls the application's Identity. A panic is an error.
func callIdentity(identity func(*jwt.Token) string, token *jwt.Token) (name string, err error) {
	defer func() {
		if p := recover(); p != nil {
			name, err = "", newPanicError(p)
		}
	}()
	return identity(token), nil
}

// defaultIdentity is the issuer, a space and the subject, or the subject alone. The first part has
// no space of its own, so no two users get the same name. A subject is unique within its issuer
// only (RFC 7519 §4.1.2). A token without a subject has no identity.
func defaultIdentity(issuer, subject string) string {
	switch {
	case subject == "":
		return ""
	case issuer == "":
		return withoutSpaces.Replace(subject)
	}
	return withoutSpaces.Replace(issuer) + " " + subject
}

var withoutSpaces = strings.NewReplacer(" ", "%20", "%", "%25")

// isOfUser reports whether two tokens are of the same user. A token without identity is of the same
// user as itself.
func (v *verified) isOfUser(other *verified) bool {
	return v.identity == other.identity && (v.identity != "" || v.raw == other.raw)
}
