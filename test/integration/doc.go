// Package integration lets relying parties that others have made sign people
// in at Sealpost: openid-client and oauth4webapi on Node.js, mod_auth_openidc
// in Apache, Authlib in Python, oauth2-proxy. Each is a process of its own. Sealpost stands
// behind a TLS proxy, with a certificate that only the relying parties know, so
// that everything that holds for https alone holds here.
//
// docs/quickstart.md, the recipes of docs/integrations and the proxies of
// deploy/ are run as they are written: tests take commands and settings from
// the pages, and say in one table what differs.
//
// The tests have the build tag integration; make test-integration installs
// what they need and runs them.
package integration
