// Package world is one installation of Sealpost as tests see it from outside:
// real processes of the binary on either engine, real mail over SMTP, a relying
// party, and browsers as people have them, with and without JavaScript.
//
// What holds after every test with a [World]:
//
//   - A process that was told to stop ended with exit code 0.
//   - It wrote JSON and nothing else, one line for each request, and in no line
//     a link, token, code, cookie, secret or address that went by.
package world
