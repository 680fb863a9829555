package provider

import (
	"errors"
	"net/http"
	"time"
)

// Error is an OAuth 2.0 error response (RFC 6749 §4.1.2.1, §5.2; OIDC Core
// §3.1.2.6; RFC 6750 §3.1). Code and Description are public and fixed; Err is
// the private cause and goes to the log alone.
type Error struct {
	Code        string
	Description string
	Err         error
	RetryAfter  time.Duration // for temporarily_unavailable and too many requests
}

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Code + ": " + e.Description + ": " + e.Err.Error()
	}
	return e.Code + ": " + e.Description
}

// Unwrap gives the private cause.
func (e *Error) Unwrap() error { return e.Err }

// because gives the error with its private cause.
func (e *Error) because(err error) *Error {
	return &Error{Code: e.Code, Description: e.Description, Err: err}
}

// dpop says whether the error is about a DPoP proof.
func (e *Error) dpop() bool { return e.Code == invalidDPoPProof || e.Code == useDPoPNonce }

// Error codes in use.
const (
	invalidRequest          = "invalid_request"
	invalidClient           = "invalid_client"
	invalidGrant            = "invalid_grant"
	invalidScope            = "invalid_scope"
	invalidToken            = "invalid_token"
	insufficientScope       = "insufficient_scope"
	unauthorizedClient      = "unauthorized_client"
	unsupportedGrantType    = "unsupported_grant_type"
	unsupportedResponseType = "unsupported_response_type"
	accessDenied            = "access_denied"
	loginRequired           = "login_required"
	consentRequired         = "consent_required"
	unmetRequirements       = "unmet_authentication_requirements" // OIDC Core Unmet Authentication Requirements §2
	invalidTarget           = "invalid_target"                    // RFC 8707 §2
	invalidRequestURI       = "invalid_request_uri"               // OIDC Core §3.1.2.6
	invalidRequestObject    = "invalid_request_object"
	invalidDPoPProof        = "invalid_dpop_proof" // RFC 9449 §5
	useDPoPNonce            = "use_dpop_nonce"
	authorizationPending    = "authorization_pending" // RFC 8628 §3.5
	slowDown                = "slow_down"
	expiredToken            = "expired_token"
	invalidRedirectURI      = "invalid_redirect_uri" // RFC 7591 §3.2.2
	invalidClientMetadata   = "invalid_client_metadata"
	tooManyRequests         = "too_many_requests" // ours, with 429
	serverError             = "server_error"
	temporarilyUnavailable  = "temporarily_unavailable"
	notFound                = "not_found" // ours, for WebFinger
)

// retryAfter is how long a client should wait when a part of the provider is
// away.
const retryAfter = 5 * time.Second

var errUnavailable = &Error{Code: temporarilyUnavailable, Description: "the provider cannot answer right now; try again soon"}

// publicError gives what the world may know of err: an *Error as it is; any
// other error means that something the provider depends on could not be
// consulted, and it refuses.
func publicError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return errUnavailable.because(err)
}

// status is the HTTP status of the error as a page or as JSON (RFC 6749 §5.2,
// RFC 6750 §3.1).
func (e *Error) status() int {
	switch e.Code {
	case invalidClient, invalidToken:
		return http.StatusUnauthorized
	case insufficientScope, accessDenied:
		return http.StatusForbidden
	case tooManyRequests:
		return http.StatusTooManyRequests
	case notFound:
		return http.StatusNotFound
	case serverError:
		return http.StatusInternalServerError
	case temporarilyUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}
