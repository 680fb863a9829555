// Package hostile tries Sealpost against what reads people's mail before they do:
// scanners, previews, gateways, link rewriters and prefetchers, as programs of
// their own against a running server, on both engines.
//
// After each of them the person's own click still works, nobody else is signed
// in, and the operator can see that the link was opened.
package hostile
