// Package attack tries Sealpost the way somebody would who wants to sign in as
// another, to keep another out, or to learn who has an account: against a running
// server with real mail, on both engines. Each test is an attack by its name in
// the field; docs/security.md says which defence it meets.
package attack
