// Package e2e tries Sealpost from outside, on both engines: real processes of
// the binary, real mail over SMTP, relying parties and browsers as people have
// them.
//
// What holds after every one of its tests:
//
//   - A process that was told to stop ended with exit code 0.
//   - It wrote JSON and nothing else, one line for each request, and in no line
//     a link, token, code, cookie, secret or address that went by.
package e2e
