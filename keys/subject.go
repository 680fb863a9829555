package keys

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"

	"github.com/go-jose/go-jose/v4"
)

// subjectKey stands among the algorithms of the ring for the one key that signs
// nothing and never rotates: pairwise subjects follow from it (OIDC Core §8.1).
// It is sealed like the others, so that it outlives a change of the secret.
const subjectKey = jose.SignatureAlgorithm("pairwise")

// Subject gives the pairwise subject of a user in a sector: always the same,
// and neither to be linked with that of another sector nor to be undone without
// the database and the secret.
func (r *Ring) Subject(sector, userID string) string {
	h := hmac.New(sha256.New, r.state.Load().newest(subjectKey).subject)
	var size [8]byte
	binary.BigEndian.PutUint64(size[:], uint64(len(sector)))
	h.Write(size[:])
	h.Write([]byte(sector))
	h.Write([]byte(userID))
	return b64.EncodeToString(h.Sum(nil))
}
