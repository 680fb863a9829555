// Package provider is the OpenID Connect provider: one endpoint or rule, one
// file. Which clause is kept where, and by which test, stands in docs/specs.md.
//
// What it guarantees:
//
//   - Until the client and its redirect URI are proven, an error is a page and
//     never a redirect (RFC 9700 §4.11).
//   - GET and POST /authorize write nothing to the database before they answer. The checked
//     request travels sealed, expiring, and bound to the browser that sent it.
//   - An authorization code is sealed, lives for a minute, and is redeemed
//     once: its use is the insertion of its grant. A second use revokes what
//     the first was given (RFC 6749 §4.1.2).
//   - Neither the database nor the secret alone is enough to make a code or a
//     refresh token: a code names its session by an identifier that never
//     leaves the server, a refresh token carries a random part of which the
//     database has only the hash.
//   - What a client or a browser is told about an error is fixed text; causes
//     go to the log.
//
// Endpoints for clients are served by api.go; clientauth.go and token.go list
// the ways in which a client proves itself and the grants it can have.
package provider
