// Package migrations holds the schema of each engine and brings databases up
// to it.
//
// What it guarantees:
//
//   - Migrating is safe in any number of processes at once: each migration
//     takes effect once, whole, or not at all.
//   - It only goes forward. A database that is ahead of this program is left
//     as it is: the release before runs on the schema of the next, so a
//     migration adds, and removes only what the release before has stopped using.
package migrations
