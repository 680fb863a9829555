//go:build integration && traefik

package integration

import (
	"os/exec"
	"strings"
	"testing"
)

// make test-recipes-traefik runs it.
func TestTraefikLetsAPersonThroughByMailedLink(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, w *world) {
		r := newRecipe(t, w)
		host := strings.TrimPrefix(r.origin, "https://")
		name, _, _ := strings.Cut(host, ":")
		dynamic := strings.ReplaceAll(r.page("yaml", "forwardAuth"), "Host(`"+host+"`)", "Host(`"+name+"`)") // which has no port
		startProcess(t, exec.Command(made(t, "traefik"), "-file", r.file("dynamic.yaml", dynamic), "-listen", r.listen,
			"-certificate", authority(t).file("certificate.pem"), "-key", authority(t).file("key.pem")))
		r.letsThrough(r.oauth2Proxy("--upstream=http://"+r.upstream, asksFirst))
	})
}
