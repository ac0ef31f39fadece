package socketiojwt

import (
	"encoding/json"
	"errors"

	"github.com/golang-jwt/jwt/v5"
)

// ErrKeyNotFound says that there is no key for a token, such as one with an unknown `kid`. A Secret
// returns it, or wraps it, so that the client is refused for good, with `invalid signature`; after
// any other error of a Secret the client tries again.
var ErrKeyNotFound = errors.New("socketiojwt: no key for this token")

// The codes an [UnauthorizedError] carries. They are part of the wire contract:
// clients written for Node's socketio-jwt compare them.
const (
	// CodeCredentialsRequired says that no token was sent where one is needed.
	CodeCredentialsRequired = "credentials_required"
	// CodeCredentialsBadFormat says that the credentials could not be told from
	// one another: an Authorization header that is not two words, or two tokens
	// in the same place.
	CodeCredentialsBadFormat = "credentials_bad_format"
	// CodeMissingAuthorizationHeader says that [Options.HeaderRequired] is set and
	// there was no bearer token in the Authorization header.
	CodeMissingAuthorizationHeader = "missing_authorization_header"
	// CodeInvalidToken says that the token itself was refused; the message says why.
	CodeInvalidToken = "invalid_token"
	// CodeInvalidSecret says that the server could not find the key for the token.
	// It is worth retrying.
	CodeInvalidSecret = "invalid_secret"
	// CodeTimeout says that a round trip did not succeed within [Options.Timeout].
	CodeTimeout = "timeout"
	// CodeTooManyAttempts says that [Options.MaxAttempts] failed before, so that nobody looked
	// at this token.
	CodeTooManyAttempts = "too_many_attempts"
	// CodeServerBusy says that [Options.MaxPending] was reached, that [Options.Revocations]
	// could not be asked, or that a callback did not answer in time. It is worth retrying.
	CodeServerBusy = "server_busy"
	// CodeSessionReplaced says that a newer session of the same user took the place of this one,
	// see [Options.SingleSession].
	CodeSessionReplaced = "session_replaced"
	// CodeUnauthorized says that the token was good and the application refused
	// its bearer, see [Options.Accept] and [Authorizer.Disconnect].
	CodeUnauthorized = "unauthorized"
)

// UnauthorizedError is the one error of this package that a client gets to see.
// As JSON it is {"message": Message, "code": Code, "type": "UnauthorizedError"}.
//
// Return one from [Options.Secret] or [Options.Accept], or give one to
// [Authorizer.Disconnect], to decide what the client is told. What it wraps is for the server only and never leaves it.
type UnauthorizedError struct {
	// Code is one of the Code constants, or the application's own.
	Code string
	// Message is the text for the client.
	Message string
	// Retryable says that the refusal is the server's fault and may be gone a moment later, so
	// the client is not told to stay away. Refusals with CodeInvalidSecret and CodeServerBusy
	// are, whatever it says. It is not sent.
	Retryable bool
	// Err is the cause, for the log and errors.Is; nil if there is none. It is never sent. That of
	// a refused token is golang-jwt's, and may hold bytes the client sent.
	Err error

	by string // see Refusal.By
}

// Error returns the code and the message, which are all a client may know.
//
// The methods take a nil *UnauthorizedError: callbacks return one inside an error that is
// not nil, by mistake.
func (e *UnauthorizedError) Error() string {
	switch {
	case e == nil:
		return "<nil>"
	case e.Code == "":
		return e.Message
	case e.Message == "":
		return e.Code
	}
	return e.Code + ": " + e.Message
}

// Unwrap returns what led to the refusal: golang-jwt's error or that of a
// callback. It may hold bytes the client sent, so take care where it is printed.
func (e *UnauthorizedError) Unwrap() error {
	if e == nil {
		return nil
	}
	return e.Err
}

// Is reports whether target is an *UnauthorizedError with the same code and, if
// target has one, the same message. So
//
//	errors.Is(err, &socketiojwt.UnauthorizedError{Code: socketiojwt.CodeInvalidToken})
//
// holds for every reason a token is refused for.
func (e *UnauthorizedError) Is(target error) bool {
	t, ok := target.(*UnauthorizedError)
	return ok && e != nil && t != nil && t.Code == e.Code && (t.Message == "" || t.Message == e.Message)
}

// MarshalJSON returns the payload of the wire contract, in Node's member order.
func (e UnauthorizedError) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Message string `json:"message"`
		Code    string `json:"code"`
		Type    string `json:"type"`
	}{e.Message, e.Code, "UnauthorizedError"})
}

// dueTo says which of the Options a refusal is due to.
func (e *UnauthorizedError) dueTo(option string) *UnauthorizedError {
	e.by = option
	return e
}

// retryable tells refusals that are the server's fault, and may be gone a moment
// later, from those that stay until the client has another token.
func (e *UnauthorizedError) retryable() bool {
	return e.Retryable || e.Code == CodeInvalidSecret || e.Code == CodeServerBusy
}

// wantsToken tells that the client sent no token.
func (e *UnauthorizedError) wantsToken() bool {
	return e.Code == CodeCredentialsRequired || e.Code == CodeMissingAuthorizationHeader
}

// One constructor per row of the wire contract. Each call makes a new error, so
// that nobody can change the text of somebody else's.

func errNoToken() *UnauthorizedError {
	return &UnauthorizedError{Code: CodeCredentialsRequired, Message: "no token provided"}
}

func errAuthenticationRequired() *UnauthorizedError {
	return &UnauthorizedError{Code: CodeCredentialsRequired, Message: "authentication required"}
}

func errBadFormat() *UnauthorizedError {
	return &UnauthorizedError{Code: CodeCredentialsBadFormat, Message: "Format is Authorization: Bearer [token]"}
}

func errHeaderRequired() *UnauthorizedError {
	return &UnauthorizedError{Code: CodeMissingAuthorizationHeader, Message: "Server requires Authorization Header"}
}

func errTokenDatatype() *UnauthorizedError { return invalidToken("invalid token datatype", nil) }

func errMalformed(cause error) *UnauthorizedError { return invalidToken("jwt malformed", cause) }

func errSignatureRequired() *UnauthorizedError {
	return invalidToken("jwt signature is required", nil)
}

func errInvalidSignature(cause error) *UnauthorizedError {
	return invalidToken("invalid signature", cause)
}

func errInvalidAlgorithm(cause error) *UnauthorizedError {
	return invalidToken("invalid algorithm", cause)
}

func errTokenExpired(cause error) *UnauthorizedError { return invalidToken("jwt expired", cause) }

func errTokenRevoked() *UnauthorizedError { return invalidToken("jwt revoked", nil) }

func errTokenTooLong() *UnauthorizedError { return invalidToken("jwt too long", nil) }

func errSubjectChanged() *UnauthorizedError { return invalidToken("jwt subject changed", nil) }

func errClaimRequired() *UnauthorizedError { return invalidToken("jwt claim required", nil) }

func errSessionReplaced() *UnauthorizedError {
	return &UnauthorizedError{Code: CodeSessionReplaced, Message: "session replaced"}
}

func errSecretUnavailable(cause error) *UnauthorizedError {
	return &UnauthorizedError{Code: CodeInvalidSecret, Message: "secret unavailable", Retryable: true, Err: cause}
}

func errTimeout() *UnauthorizedError {
	return &UnauthorizedError{Code: CodeTimeout, Message: "authentication timed out", by: "Timeout"}
}

func errTooManyAttempts() *UnauthorizedError {
	return &UnauthorizedError{Code: CodeTooManyAttempts, Message: "too many attempts", by: "MaxAttempts"}
}

func errServerBusy(cause error) *UnauthorizedError {
	return &UnauthorizedError{Code: CodeServerBusy, Message: "server busy", Retryable: true, Err: cause}
}

func errUnauthorized(cause error) *UnauthorizedError {
	return &UnauthorizedError{Code: CodeUnauthorized, Message: "unauthorized", Err: cause}
}

func invalidToken(message string, cause error) *UnauthorizedError {
	return &UnauthorizedError{Code: CodeInvalidToken, Message: message, Err: cause}
}

// claimErrors maps golang-jwt's claim errors to the contract. golang-jwt reports
// all that fail; the client is told the first of this list, which is the order
// Node's jsonwebtoken checks in. A claim of the wrong type comes before all of
// them: nothing that was read from such a token means anything.
var claimErrors = []struct {
	is      error
	message string
}{
	{jwt.ErrInvalidType, "jwt malformed"},
	{jwt.ErrTokenNotValidYet, "jwt not active"},
	{jwt.ErrTokenUsedBeforeIssued, "jwt not active"},
	{jwt.ErrTokenExpired, "jwt expired"},
	{jwt.ErrTokenInvalidAudience, "jwt audience invalid"},
	{jwt.ErrTokenInvalidIssuer, "jwt issuer invalid"},
	{jwt.ErrTokenInvalidSubject, "jwt subject invalid"},
	{jwt.ErrTokenRequiredClaimMissing, "jwt claim required"},
}

// errClaims is the refusal for an error of golang-jwt's claims validation. What
// it does not know came from the Validate method of the user's claims type, which
// decides what the client is told as Accept does.
func errClaims(err error) *UnauthorizedError {
	for _, c := range claimErrors {
		if errors.Is(err, c.is) {
			return invalidToken(c.message, err)
		}
	}
	return refusalOf(err, errUnauthorized(err))
}

// refusalOf returns what the client is told when a user's code failed with err: the
// *UnauthorizedError in it, as a copy of our own and with the gaps filled from
// otherwise, or else otherwise.
func refusalOf(err error, otherwise *UnauthorizedError) *UnauthorizedError {
	var theirs *UnauthorizedError
	if !errors.As(err, &theirs) || theirs == nil {
		return otherwise
	}
	refusal := &UnauthorizedError{Code: theirs.Code, Message: theirs.Message, Retryable: theirs.Retryable, Err: err}
	if refusal.Code == "" {
		refusal.Code = otherwise.Code
	}
	if refusal.Message == "" {
		refusal.Message = otherwise.Message
	}
	return refusal
}
