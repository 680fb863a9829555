package e2e

import (
	"strings"
	"testing"

	"github.com/sealpost/sealpost/test/world"
)

func TestLeaksAreFound(t *testing.T) {
	secrets := map[string]string{"q7oWZkT1xnmsjDq0GdyNAw": "token", "123456": "code", "ada-k3j9x2ab": "local part"}
	for line, want := range map[string]string{
		`{"time":"2026-11-25T01:38:48.123456Z","msg":"request","id":"a123456b","bytes":1234567}`:        "",
		`{"time":"2026-11-25T01:38:48Z","msg":"request","path":"/login?token=q7oWZkT1xnmsjDq0GdyNAw"}`:  "token",
		`{"time":"2026-11-25T01:38:48Z","msg":"wrong code 123456"}`:                                     "code",
		`{"time":"2026-11-25T01:38:48Z","msg":"mail","code":123456}`:                                    "code",
		`{"time":"2026-11-25T01:38:48Z","msg":"mail","error":"550 <ada-k3j9x2ab@example.com> unknown"}`: "local part",
	} {
		if got := strings.Join(world.Leaks(secrets, line), ", "); got != want {
			t.Errorf("in %s there is %q, want %q", line, got, want)
		}
	}
}
