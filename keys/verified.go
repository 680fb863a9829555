package keys

import (
	"crypto/sha256"
	"sync"
)

// verifiedMost is how many tokens verified remembers at least, twice as many at
// most: about a kilobyte each.
const verifiedMost = 4096

// verified remembers which tokens had a good signature, and by which key, as
// resource servers show the same ones again and again. It remembers nothing
// else of them: whether the key still counts, and whether the token does, is
// asked each time.
type verified struct {
	mu         sync.Mutex
	young, old map[[sha256.Size]byte]signed // forgotten by halves
}

// signed is a payload with the key that signed it.
type signed struct {
	kid, typ string
	payload  []byte // is not changed
}

// get finds a token that was verified as typ.
func (v *verified) get(token, typ string) (signed, bool) {
	sum := sha256.Sum256([]byte(token))
	v.mu.Lock()
	defer v.mu.Unlock()
	s, ok := v.young[sum]
	if !ok {
		if s, ok = v.old[sum]; ok {
			v.put(sum, s)
		}
	}
	return s, ok && s.typ == typ
}

// add remembers a token that was verified just now.
func (v *verified) add(token string, s signed) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.put(sha256.Sum256([]byte(token)), s)
}

func (v *verified) put(sum [sha256.Size]byte, s signed) {
	if v.young == nil || len(v.young) >= verifiedMost {
		v.young, v.old = make(map[[sha256.Size]byte]signed), v.young
	}
	v.young[sum] = s
}
