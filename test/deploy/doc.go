// Package deploy holds what lies in deploy/ to what it is for: each file is
// read by the reader of its own kind, strictly, and what it says of Sealpost is
// put before the binary, which knows its settings. Nothing is deployed: there
// is no container runtime, no cluster and no systemd here.
//
// It is a module of its own, because its readers bring many others; make
// test-integration runs it.
package deploy
