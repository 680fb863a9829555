// Package fault breaks what Sealpost stands on, at chosen moments of real
// logins: the network to the database and to the mail server, the disk, the
// clock, the migration of the schema, and the process itself. It wants every
// answer to be true, the way on to need nobody's hands but those of the person
// who signs in, and what the store holds in the end to be consistent
// (test/invariants). docs/faults.md says what people see of each.
package fault
