// Package e2e tries Sealpost from outside, on both engines, with
// [github.com/sealpost/sealpost/test/world].
package e2e
