package keys

import (
	"fmt"
	"testing"
)

func TestVerifiedForgetsTheOldest(t *testing.T) {
	var v verified
	for i := range 3 * verifiedMost {
		v.add(fmt.Sprint(i), signed{"kid", TypeJWT, nil})
		v.get("0", TypeJWT) // what is asked for stays
	}
	if n := len(v.young) + len(v.old); n > 2*verifiedMost {
		t.Errorf("%d are remembered", n)
	}
	for token, want := range map[string]bool{"0": true, "1": false, fmt.Sprint(3*verifiedMost - 1): true, "never": false} {
		if _, got := v.get(token, TypeJWT); got != want {
			t.Errorf("%s is remembered: %t", token, got)
		}
	}
	if _, ok := v.get("0", TypeAccessToken); ok {
		t.Error("verified as one type, it is taken as another")
	}
}
