package login

import (
	"strings"
	"testing"
)

func TestAllowed(t *testing.T) {
	for _, tt := range []struct {
		name, key   string
		allow, deny []string
		want        bool
	}{
		{"no pattern: everyone", "ada@example.com", nil, nil, true},
		{"the domain", "ada@example.com", []string{"*@example.com"}, nil, true},
		{"another domain", "ada@example.org", []string{"*@example.com"}, nil, false},
		{"a domain that ends alike", "ada@notexample.com", []string{"*@example.com"}, nil, false},
		{"a domain that begins alike", "ada@example.com.evil.example", []string{"*@example.com"}, nil, false},
		{"a subdomain is another domain", "ada@sub.example.com", []string{"*@example.com"}, nil, false},
		{"subdomains", "ada@sub.example.com", []string{"*@*.example.com"}, nil, true},
		{"subdomains of subdomains", "ada@a.b.example.com", []string{"*@*.example.com"}, nil, true},
		{"the domain is no subdomain of itself", "ada@example.com", []string{"*@*.example.com"}, nil, false},
		{"no dot, no subdomain", "ada@subexample.com", []string{"*@*.example.com"}, nil, false},
		{"one address", "ada@example.com", []string{"ada@example.com"}, nil, true},
		{"another address", "bob@example.com", []string{"ada@example.com"}, nil, false},
		{"a tag makes another address", "ada+x@example.com", []string{"ada@example.com"}, nil, false},
		{"case doesn't matter", "ada@example.com", []string{"ADA@Example.COM"}, nil, true},
		{"nor in the key", "Ada@Example.com", nil, []string{"ada@example.com"}, false},
		{"a U-label is its A-label", "ada@xn--exmple-cua.net", []string{"*@Exämple.net"}, nil, true},
		{"subdomains of a U-label", "ada@a.xn--exmple-cua.net", []string{"*@*.exämple.net"}, nil, true},
		{"one of many", "ada@example.org", []string{"*@example.com", "*@example.org"}, nil, true},
		{"deny is stronger", "ada@example.com", []string{"ada@example.com"}, []string{"*@example.com"}, false},
		{"deny leaves the others", "bob@example.com", nil, []string{"ada@example.com"}, true},
		{"a tag is no way around deny", "ada+x@example.com", nil, []string{"ada@example.com"}, false},
		{"nor are Gmail's dots and its other domain", "a.d.a+x@googlemail.com", nil, []string{"ad.a@gmail.com"}, false},
		{"who is denied with a tag is denied without", "ada@example.com", nil, []string{"ada+x@example.com"}, false},
		{"elsewhere dots make another person", "a.da@example.com", nil, []string{"ada@example.com"}, true},
		{"a bad pattern allows nobody", "ada@example.com", []string{"example.com"}, nil, false},
		{"a bad pattern denies everyone", "ada@example.com", nil, []string{"example.com"}, false},
		{"no key", "", []string{"*@example.com"}, nil, false},
	} {
		if got := Allowed(tt.key, tt.allow, tt.deny); got != tt.want {
			t.Errorf("%s: Allowed(%q, %q, %q) = %t", tt.name, tt.key, tt.allow, tt.deny, got)
		}
	}
}

func TestCheckPatternsNamesThePatternAndTheFix(t *testing.T) {
	if err := CheckPatterns([]string{"*@example.com", "*@*.example.com", "user+tag@example.com", "*@exämple.net", "*@xn--exmple-cua.net"}); err != nil {
		t.Error(err)
	}
	for bad, fix := range map[string]string{
		"example.com": "write *@example.com", "*.example.com": "write *@*.example.com",
		"": "*@example.com", "*": "*@example.com", "a@b@example.com": "*@example.com", "not a pattern": "*@example.com",
		"@example.com": "before the @", "a*@example.com": "before the @", "*a@example.com": "before the @", `"a"@example.com`: "before the @", "usér@example.com": "before the @", " a@example.com": "before the @",
		"*@": "after the @", "*@*": "after the @", "*@example": "after the @", "*@exam*.com": "after the @", "*@*.*.example.com": "after the @",
		"*@example.com ": "after the @", "*@ｇmail.com": "after the @", "*@.example.com": "after the @",
	} {
		err := CheckPatterns([]string{"*@example.com", bad, "*@example.org"})
		if err == nil || !strings.Contains(err.Error(), `"`+strings.ReplaceAll(bad, `"`, `\"`)+`"`) || !strings.Contains(err.Error(), fix) {
			t.Errorf("%q: %v, want %q", bad, err, fix)
		}
	}
	if err := CheckPatterns([]string{"one.example", "two.example"}); err == nil || !strings.Contains(err.Error(), "one.example") || !strings.Contains(err.Error(), "two.example") {
		t.Errorf("not all of it: %v", err)
	}
}

func BenchmarkAllowed(b *testing.B) {
	var allow []string
	for range 100 {
		allow = append(allow, "*@example.org")
	}
	for b.Loop() {
		Allowed("ada@example.com", allow, nil)
	}
}
