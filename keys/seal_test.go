package keys_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sealpost/sealpost/keys"
)

// testSecret is the bytes 0 to 31.
const testSecret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

func parseSecret(t testing.TB, s string) keys.Secret {
	t.Helper()
	secret, err := keys.ParseSecret(s)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// The values were made by another program, from RFC 5869, RFC 2104 and SP
// 800-38D. A release that changes one of them locks people out of their keys.
func TestDerivationsStay(t *testing.T) {
	s := parseSecret(t, testSecret)
	for _, c := range []struct {
		purpose string
		parts   [][]byte
		want    string
	}{
		{"link", nil, "4a1ee1fe3d30c1442dc0a83763f569d08e07c44642ded1c35cc7a12f5f6c7f54"},
		{"link", [][]byte{[]byte("attempt")}, "9fa701b7b712e2893aa5b975003fb317db070947fee83bfdde98c8e090e12c58"},
		{"link", [][]byte{[]byte("att"), []byte("empt")}, "1e5d2dd0194d067dba198cd06d5bd70ec7b75ab3827f992234e88ed4ce07a96e"},
		{"session", [][]byte{[]byte("attempt")}, "c83fc26e799103e3ccb007edc3b85420a29cc62e03f8e4ca8d68d9cefbb0fff8"},
	} {
		if have := hex.EncodeToString(s.MAC(c.purpose, c.parts...)); have != c.want {
			t.Errorf("MAC for %s of %q: have %s, want %s", c.purpose, c.parts, have, c.want)
		}
	}
	for _, c := range []struct{ purpose, sealed, want string }{
		{"signing-key", "AAECAwQFBgcICQoLiaPCD2C2dWshjPGyPPE8xYBwYOrnAY4d3cb7", "private key"},
		{"request", "AAECAwQFBgcICQoLk4FwBQ-Ec6nmjs4LGWQg6g", ""},
	} {
		if have, err := s.Open(c.purpose, c.sealed); err != nil || string(have) != c.want {
			t.Errorf("open %s for %s: have %q, %v, want %q", c.sealed, c.purpose, have, err, c.want)
		}
	}
	if have, want := keys.Hash([]byte("abc")), "ungWv48Bz-pBQUDeXa4iIw"; have != want { // FIPS 180-2 §B.1
		t.Errorf("hash: have %s, want %s", have, want)
	}
}

func TestPurposesAreApart(t *testing.T) {
	s := parseSecret(t, testSecret)
	purposes := []string{"", "a", "b", "a/b", "a/", "mac/a", "seal/a", "A", "link", "session", "signing-key"}
	plain := []byte("plain")
	macs := map[string]string{}
	for _, made := range purposes {
		mac := string(s.MAC(made, plain))
		if other, ok := macs[mac]; ok {
			t.Errorf("purposes %q and %q share a MAC", made, other)
		}
		macs[mac] = made
		sealed := s.Seal(made, plain)
		for _, asked := range purposes {
			have, err := s.Open(asked, sealed)
			switch {
			case made == asked && (err != nil || !bytes.Equal(have, plain)):
				t.Errorf("sealed for %q: have %q, %v", made, have, err)
			case made != asked && !errors.Is(err, keys.ErrSealed):
				t.Errorf("sealed for %q, opened for %q: %q, %v", made, asked, have, err)
			}
		}
	}
}

func TestEachPartIsBoundWithItsLength(t *testing.T) {
	s := parseSecret(t, testSecret)
	seen := map[string]string{}
	for _, parts := range [][]string{
		{}, {""}, {"", ""}, {"abcd"}, {"abc", "d"}, {"ab", "cd"}, {"a", "bcd"}, {"", "abcd"}, {"abcd", ""}, {"a", "b", "cd"},
		{"\x00\x00\x00\x00\x00\x00\x00\x04abcd"}, {"dcba"},
	} {
		var raw [][]byte
		for _, p := range parts {
			raw = append(raw, []byte(p))
		}
		mac := s.MAC("link", raw...)
		if len(mac) != 32 {
			t.Errorf("%q: %d bytes", parts, len(mac))
		}
		name := fmt.Sprintf("%q", parts)
		if other, ok := seen[string(mac)]; ok {
			t.Errorf("%s and %s have the same MAC", name, other)
		}
		seen[string(mac)] = name
	}
}

func TestOpenRefusesWhatSealDidNotMake(t *testing.T) {
	s := parseSecret(t, testSecret)
	sealed := s.Seal("request", []byte("plain"))
	refuse := func(name, changed string) {
		t.Helper()
		if have, err := s.Open("request", changed); !errors.Is(err, keys.ErrSealed) || have != nil {
			t.Errorf("%s: have %q, %v", name, have, err)
		}
	}
	for i := range len(sealed) {
		refuse(fmt.Sprintf("cut off at %d", i), sealed[:i])
		refuse(fmt.Sprintf("without the first %d", i+1), sealed[i+1:])
		other := byte('A')
		if sealed[i] == other {
			other = 'B'
		}
		refuse(fmt.Sprintf("letter %d changed", i), sealed[:i]+string(other)+sealed[i+1:])
		refuse(fmt.Sprintf("a line break at %d", i), sealed[:i]+"\n"+sealed[i:])
	}
	refuse("a line break at the end", sealed+"\r\n")
	refuse("padded", sealed+"=")
	refuse("longer", sealed+"A")
	refuse("twice", sealed+sealed)
	refuse("zeros", base64.RawURLEncoding.EncodeToString(make([]byte, 64)))
	if _, err := parseSecret(t, keys.NewSecret()).Open("request", sealed); !errors.Is(err, keys.ErrSealed) {
		t.Errorf("another secret: %v", err)
	}
}

// A secret is changed while people sign in.
func TestPreviousSecretsAreStillTaken(t *testing.T) {
	older, old, now := keys.NewSecret(), keys.NewSecret(), keys.NewSecret()
	both, err := keys.ParseSecrets(now, old, older)
	if err != nil {
		t.Fatal(err)
	}
	part := []byte("part")
	for name, c := range map[string]struct {
		secret string
		taken  bool
	}{
		"current": {now, true}, "previous": {old, true}, "the one before": {older, true}, "another": {keys.NewSecret(), false},
	} {
		s := parseSecret(t, c.secret)
		if plain, err := both.Open("request", s.Seal("request", part)); c.taken != (err == nil) || c.taken != bytes.Equal(plain, part) {
			t.Errorf("%s: opened %q, %v", name, plain, err)
		}
		if have := both.CheckMAC("link", s.MAC("link", part), part); have != c.taken {
			t.Errorf("%s: MAC taken: %v", name, have)
		}
	}
	current := parseSecret(t, now)
	if !current.CheckMAC("link", both.MAC("link", part), part) {
		t.Error("the MAC is not the current secret's")
	}
	if _, err := current.Open("request", both.Seal("request", part)); err != nil {
		t.Error("the seal is not the current secret's")
	}
	var macs [][]byte
	for s := range both.Each() {
		macs = append(macs, s.MAC("code"))
	}
	if want := [][]byte{current.MAC("code"), parseSecret(t, old).MAC("code"), parseSecret(t, older).MAC("code")}; !slices.EqualFunc(macs, want, bytes.Equal) {
		t.Error("Each gives others, or in another order")
	}
}

func TestCheckMACRefuses(t *testing.T) {
	s := parseSecret(t, testSecret)
	a, b := []byte("a"), []byte("b")
	mac := s.MAC("link", a, b)
	changed := bytes.Clone(mac)
	changed[15] ^= 1
	for _, c := range []struct {
		name    string
		purpose string
		mac     []byte
		parts   [][]byte
		want    bool
	}{
		{"whole", "link", mac, [][]byte{a, b}, true},
		{"cut to 16 bytes", "link", mac[:16], [][]byte{a, b}, true},
		{"cut to 15 bytes", "link", mac[:15], [][]byte{a, b}, false},
		{"nothing", "link", nil, [][]byte{a, b}, false},
		{"longer", "link", append(bytes.Clone(mac), 0), [][]byte{a, b}, false},
		{"a bit changed", "link", changed, [][]byte{a, b}, false},
		{"a bit changed, cut", "link", changed[:16], [][]byte{a, b}, false},
		{"another purpose", "session", mac, [][]byte{a, b}, false},
		{"other parts", "link", mac, [][]byte{[]byte("ab")}, false},
		{"the end of it", "link", mac[16:], [][]byte{a, b}, false},
	} {
		if have := s.CheckMAC(c.purpose, c.mac, c.parts...); have != c.want {
			t.Errorf("%s: %v", c.name, have)
		}
	}
}

func TestNoTwoSealsAreTheSame(t *testing.T) {
	s := parseSecret(t, testSecret)
	const callers, each = 32, 32
	all := make([][]string, callers)
	var working sync.WaitGroup
	for i := range callers {
		working.Go(func() {
			for range each {
				all[i] = append(all[i], s.Seal("first used by all at once", []byte("plain")))
			}
		})
	}
	working.Wait()
	sealed := slices.Concat(all...)
	for _, v := range sealed {
		if plain, err := s.Open("first used by all at once", v); err != nil || string(plain) != "plain" {
			t.Fatalf("have %q, %v", plain, err)
		}
	}
	slices.Sort(sealed)
	if n := len(slices.Compact(sealed)); n != callers*each {
		t.Errorf("%d different values of %d", n, callers*each)
	}
}

func TestSecretsAreReadInEverySpelling(t *testing.T) {
	raw := bytes.Repeat([]byte{0xfb, 0xff}, 16) // + and / in the standard alphabet, - and _ in the other
	want := parseSecret(t, base64.StdEncoding.EncodeToString(raw)).MAC("x")
	for name, spelled := range map[string]string{
		"standard":           base64.StdEncoding.EncodeToString(raw),
		"standard, unpadded": base64.RawStdEncoding.EncodeToString(raw),
		"URL":                base64.URLEncoding.EncodeToString(raw),
		"URL, unpadded":      base64.RawURLEncoding.EncodeToString(raw),
		"from a file":        base64.StdEncoding.EncodeToString(raw) + "\r\n",
		"indented":           "  " + base64.StdEncoding.EncodeToString(raw) + " ",
	} {
		if have := parseSecret(t, spelled).MAC("x"); !bytes.Equal(have, want) {
			t.Errorf("%s: another secret", name)
		}
	}
	for name, c := range map[string]struct{ value, want string }{
		"nothing":          {"", "has 0 bytes, wants 32"},
		"short":            {base64.StdEncoding.EncodeToString(raw[:31]), "has 31 bytes, wants 32"},
		"long":             {base64.StdEncoding.EncodeToString(append(raw, 0)), "has 33 bytes, wants 32"},
		"hex":              {hex.EncodeToString(raw), "has 48 bytes, wants 32"},
		"a password":       {"correct horse battery staple", "is not base64"},
		"padding inside":   {"AAEC=AwQF", "is not base64"},
		"letters of no ab": {strings.Repeat("ä", 22), "is not base64"},
	} {
		_, err := keys.ParseSecret(c.value)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "sealpost secret") {
			t.Errorf("%s: have %v, want %q and the advice", name, err, c.want)
		}
		if c.value != "" && err != nil && strings.Contains(err.Error(), c.value) {
			t.Errorf("%s: the error tells the value: %v", name, err)
		}
		if _, err := keys.ParseSecrets(testSecret, testSecret, c.value); err == nil || !strings.HasPrefix(err.Error(), "previous secret 2 "+c.want) {
			t.Errorf("%s: as previous secret: %v", name, err)
		}
	}
}

func TestNewSecretsAreGoodAndDiffer(t *testing.T) {
	a, b := keys.NewSecret(), keys.NewSecret()
	if a == b {
		t.Error("twice the same secret")
	}
	parseSecret(t, a)
	if raw, err := base64.StdEncoding.DecodeString(a); err != nil || len(raw) != 32 {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
}

func TestASecretDoesNotPrint(t *testing.T) {
	s := parseSecret(t, testSecret)
	s.MAC("derived already")
	inside := struct{ hidden keys.Secret }{s} // fmt reads an unexported field without asking its methods
	outside := struct{ Shown keys.Secret }{s}
	var texts []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%t", "%c"} {
		for _, v := range []any{s, &s, inside, &inside, outside, &outside, []keys.Secret{s}, map[string]keys.Secret{"k": s}} {
			texts = append(texts, fmt.Sprintf(verb, v))
		}
	}
	for _, v := range []any{s, &s, outside, map[string]any{"k": s}} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(b))
	}
	var logged strings.Builder
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "a", s, "b", outside, "c", inside)
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "a", s, "b", outside, "c", inside)
	texts = append(texts, logged.String(), fmt.Sprint(s), s.String())
	for _, text := range texts {
		for name, form := range map[string]string{
			"base64": testSecret[:12], "decimal": "2 3 4 5 6 7", "hex": "020304", "Go": "0x2, 0x3", "octal": "2 3 4 5 6 7 10", "binary": "10 11 100",
		} {
			if strings.Contains(text, form) {
				t.Errorf("%s: %s", name, text)
			}
		}
	}
	if have := fmt.Sprint(s); have != "[secret]" {
		t.Errorf("have %s", have)
	}
}

func TestRandomValuesHaveTheirLength(t *testing.T) {
	if a, b := keys.Token(), keys.Token(); len(a) != 43 || a == b {
		t.Errorf("tokens: %d characters, the same: %v", len(a), a == b)
	}
	if a, b := keys.ID(), keys.ID(); len(a) != 22 || a == b {
		t.Errorf("ids: %d characters, the same: %v", len(a), a == b)
	}
	if len(keys.Random(0)) != 0 || len(keys.Random(7)) != 7 {
		t.Error("wrong number of bytes")
	}
}

// FuzzOpen: what Open takes, Seal has made, and in this spelling alone.
func FuzzOpen(f *testing.F) {
	const made = "AAECAwQFBgcICQoLiaPCD2C2dWshjPGyPPE8xYBwYOrnAY4d3cb7" // see TestDerivationsStay
	s := parseSecret(f, testSecret)
	f.Add(made)
	f.Add(made + "\n")
	f.Add(made[:20])
	f.Add("")
	f.Add("AAECAwQFBgcICQoLk4FwBQ-Ec6nmjs4LGWQg6g") // for another purpose
	f.Fuzz(func(t *testing.T, sealed string) {
		plain, err := s.Open("signing-key", sealed)
		switch {
		case sealed == made:
			if err != nil {
				t.Errorf("refused: %v", err)
			}
		case !errors.Is(err, keys.ErrSealed) || plain != nil:
			t.Errorf("opened %q: %q, %v", sealed, plain, err)
		}
	})
}

// FuzzParseSecret: what ParseSecret takes is 32 bytes.
func FuzzParseSecret(f *testing.F) {
	f.Add(testSecret)
	f.Add("====")
	f.Add("AA\nEC")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := keys.ParseSecret(text)
		if err != nil {
			return
		}
		if plain, err := s.Open("x", s.Seal("x", []byte(text))); err != nil || string(plain) != text {
			t.Errorf("a secret that does not work: %q, %v", plain, err)
		}
	})
}
