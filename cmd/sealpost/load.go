package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/sealpost/sealpost/login"
	"github.com/sealpost/sealpost/provider"
)

// Secret is a value that does not print.
type Secret string

const masked = "[secret]"

// String keeps the secret out of messages.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return masked
}

// GoString keeps the secret out of %#v.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// MarshalText keeps the secret out of JSON, YAML and slog.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// SecretURL is an address with a password in it. It prints without.
type SecretURL string

// passwordParams are the parameters of a database URL that are secrets.
var passwordParams = []string{"password", "sslpassword"}

// cloudflareAccount is what may be shown of cloudflare://ACCOUNT:TOKEN, which is
// no URL: a port is a number.
var cloudflareAccount = regexp.MustCompile(`^cloudflare://[0-9a-fA-F]{32}:`)

// String is the address with its password masked. What is no address might be
// a misplaced password and does not print at all.
func (s SecretURL) String() string {
	u, err := url.Parse(string(s))
	switch account := cloudflareAccount.FindString(string(s)); {
	case s == "":
		return ""
	case account != "":
		return account + masked
	case err != nil || u.Scheme == "":
		return masked
	case u.Scheme == "sqlite":
		return string(s)
	case u.Opaque != "":
		return u.Scheme + ":" + masked
	case strings.Contains(u.Path+u.RawQuery+u.Fragment, "@"): // a password with a bare / ? or # ends what looks like the host
		return u.Scheme + "://" + masked
	}
	query := u.Query()
	for _, name := range passwordParams {
		if query.Has(name) {
			query.Set(name, "secret")
			u.RawQuery = query.Encode()
		}
	}
	if password, has := u.User.Password(); has {
		name := u.User.Username()
		if name == password { // some mail services take one token for both
			name = "secret"
		}
		u.User = url.UserPassword(name, "secret")
		return strings.Replace(u.String(), ":secret@", ":"+masked+"@", 1)
	}
	if u.User != nil && strings.HasPrefix(u.Scheme, "smtp") { // a token, by somebody who left out the other half
		u.User = nil
		return strings.Replace(u.String(), "://", "://"+masked+"@", 1)
	}
	return u.String()
}

// GoString keeps the password out of %#v.
func (s SecretURL) GoString() string { return strconv.Quote(s.String()) }

// MarshalText keeps the password out of JSON, YAML and slog.
func (s SecretURL) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Duration is written "15m", "720h", or as a number of seconds.
type Duration time.Duration

func parseDuration(s string) (Duration, error) {
	if seconds, err := strconv.ParseInt(s, 10, 32); err == nil {
		return Duration(time.Duration(seconds) * time.Second), nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, errors.New("write a duration such as 15m or 720h, or a number of seconds")
	}
	return Duration(d), nil
}

// String is the shortest way to write the duration: 720h rather than 720h0m0s.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText is String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Limit is written "5/15m" or "off".
type Limit struct{ login.Limit }

// String is the limit as it is written in settings.
func (l Limit) String() string {
	if l.Max == 0 {
		return "off"
	}
	return fmt.Sprintf("%d/%s", l.Max, Duration(l.Per))
}

// MarshalText is String.
func (l Limit) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// scalars reads the types that one YAML scalar, environment variable or flag
// can hold, beyond plain text.
var scalars = map[reflect.Type]func(string) (any, error){
	reflect.TypeFor[Duration](): func(s string) (any, error) { return parseDuration(s) },
	reflect.TypeFor[Limit](): func(s string) (any, error) {
		l, err := login.ParseLimit(s)
		return Limit{l}, err
	},
	reflect.TypeFor[netip.Prefix](): func(s string) (any, error) {
		if addr, err := netip.ParseAddr(s); err == nil {
			addr = addr.Unmap() // as addresses of requests are
			return netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		prefix, err := netip.ParsePrefix(s)
		if err != nil || prefix.Addr().Is4In6() {
			return nil, errors.New("write a network such as 10.0.0.0/8")
		}
		if prefix.Bits() == 0 {
			return nil, errors.New("is the whole internet; write the networks you mean")
		}
		return prefix.Masked(), nil
	},
	reflect.TypeFor[bool](): func(s string) (any, error) {
		switch strings.ToLower(s) {
		case "true", "yes", "on":
			return true, nil
		case "false", "no", "off":
			return false, nil
		}
		return nil, errors.New("write true or false")
	},
	reflect.TypeFor[int](): func(s string) (any, error) {
		n, err := strconv.Atoi(s)
		if err != nil {
			return nil, errors.New("write a whole number")
		}
		return n, nil
	},
}

// setting is one key.
type setting struct {
	path   []string
	typ    reflect.Type
	secret bool
}

func (s setting) key() string { return strings.Join(s.path, ".") }

func (s setting) variable() string { return "SEALPOST_" + strings.ToUpper(strings.Join(s.path, "_")) }

// known lists every key, in the order of the struct.
func known() []setting {
	var out []setting
	var walk func(t reflect.Type, path []string)
	walk = func(t reflect.Type, path []string) {
		for f := range fieldsOf(t) {
			path := append(slices.Clip(path), f.name)
			if f.Type.Kind() == reflect.Struct && scalars[f.Type] == nil {
				walk(f.Type, path)
				continue
			}
			secret := f.Type == reflect.TypeFor[Secret]() || f.Type == reflect.TypeFor[SecretURL]()
			out = append(out, setting{path: path, typ: f.Type, secret: secret})
		}
	}
	walk(reflect.TypeFor[Settings](), nil)
	return out
}

type field struct {
	reflect.StructField
	name  string // its key
	index []int
}

// fieldsOf yields the fields of a settings struct by key, embedded ones
// included.
func fieldsOf(t reflect.Type) func(yield func(field) bool) {
	return func(yield func(field) bool) {
		for _, f := range reflect.VisibleFields(t) {
			name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			if name != "" && name != "-" && !yield(field{f, name, f.Index}) {
				return
			}
		}
	}
}

// Load gathers the settings: overrides ("key=value", from flags) before the
// environment, before the file (none when its name is empty), before defaults.
// The error names everything that is wrong; it is an unreadError when nothing is
// known of what the file says.
func Load(defaults Settings, file string, environ, overrides []string) (Settings, error) {
	s := defaults
	root := &yaml.Node{Kind: yaml.MappingNode}
	if file != "" {
		content, err := os.ReadFile(file)
		if err != nil {
			return s, unreadError{fmt.Errorf("settings file %s: %w", file, errors.Unwrap(err))}
		}
		if root, err = parseYAML(content); err != nil {
			return s, unreadError{fmt.Errorf("settings file %s: %w", file, err)}
		}
	}
	l := &loader{file: file}
	l.layer(root, l.fromEnvironment(environ))
	l.layer(root, l.fromFlags(overrides))
	l.decode(root, reflect.ValueOf(&s).Elem(), "")
	return s, errors.Join(errors.Join(l.wrong...), s.readFiles(), s.Validate())
}

// unreadError says that a settings file could not be read, or is no settings.
type unreadError struct{ error }

// parseYAML reads one document whose top is a mapping.
func parseYAML(content []byte) (*yaml.Node, error) {
	var doc yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(content))
	if err := d.Decode(&doc); errors.Is(err, io.EOF) {
		return &yaml.Node{Kind: yaml.MappingNode}, nil
	} else if err != nil && strings.Contains(err.Error(), "unknown anchor") { // and tells the value, which may be a secret
		return nil, errors.New("a value that starts with * stands in quotes")
	} else if err != nil {
		return nil, err
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is a second document (---); write one")
	}
	root := doc.Content[0]
	if root.Tag == "!!null" {
		return &yaml.Node{Kind: yaml.MappingNode}, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, errors.New("write keys and values, such as issuer: https://login.example.com")
	}
	return root, nil
}

type loader struct {
	file  string
	wrong problems
}

// value is one setting from outside the file. Its node carries where it was
// said in place of an anchor.
type value struct {
	setting
	node *yaml.Node
}

// Kubernetes gives every container the addresses of the services around it,
// and one of them may be named sealpost. None of our keys ends this way.
var kubernetes = regexp.MustCompile(`_SERVICE_(HOST|PORT(_.*)?)$|_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$`)

// notSettings are the variables with our prefix that are no settings: flags
// (SEALPOST_CONFIG) and what tests use.
func notSetting(name string) bool {
	return name == "SEALPOST_CONFIG" || strings.HasPrefix(name, "SEALPOST_TEST_") || kubernetes.MatchString(name)
}

func (l *loader) fromEnvironment(environ []string) []value {
	var out []value
	keys := known()
	for _, entry := range environ {
		name, text, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "SEALPOST_") || text == "" || notSetting(name) {
			continue // an empty variable is one that was not set
		}
		i := slices.IndexFunc(keys, func(k setting) bool { return k.variable() == name })
		if i < 0 {
			var names []string
			for _, k := range keys {
				names = append(names, k.variable())
			}
			l.wrong = append(l.wrong, fmt.Errorf("environment variable %s is unknown%s", name, suggest(name, names)))
			continue
		}
		out = append(out, l.value(keys[i], text, name))
	}
	return out
}

func (l *loader) fromFlags(overrides []string) []value {
	var out []value
	keys := known()
	for _, entry := range overrides {
		key, text, found := strings.Cut(entry, "=")
		i := slices.IndexFunc(keys, func(k setting) bool { return k.key() == key })
		switch {
		case !found:
			l.wrong = append(l.wrong, fmt.Errorf("--set %s: write key=value", key))
		case i < 0:
			l.wrong = append(l.wrong, fmt.Errorf("--set %s: unknown key%s", key, suggest(key, keyNames(keys))))
		case keys[i].secret:
			l.wrong = append(l.wrong, fmt.Errorf("--set %s: other users of the machine can read a command line; use %s or %s_FILE", key, keys[i].variable(), keys[i].variable()))
		default:
			out = append(out, l.value(keys[i], text, "--set "+key))
		}
	}
	return out
}

func keyNames(keys []setting) []string {
	var out []string
	for _, k := range keys {
		out = append(out, k.key())
	}
	return out
}

// value makes a node of text: a list of words for a list, YAML for clients.
func (l *loader) value(k setting, text, source string) value {
	node := &yaml.Node{Kind: yaml.ScalarNode, Value: text, Anchor: source}
	switch {
	case k.typ.Kind() == reflect.Slice && k.typ.Elem().Kind() == reflect.Struct && scalars[k.typ.Elem()] == nil:
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(text), &doc); err != nil || len(doc.Content) == 0 {
			l.wrong = append(l.wrong, fmt.Errorf("%s: write a list as JSON or YAML", source))
		} else {
			node = doc.Content[0]
			from(node, source)
		}
	case k.typ.Kind() == reflect.Slice:
		node = &yaml.Node{Kind: yaml.SequenceNode, Anchor: source}
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				node.Content = append(node.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: item, Anchor: source})
			}
		}
		if len(node.Content) == 0 && text != "" { // no list of nobody: that would be everyone
			l.wrong = append(l.wrong, fmt.Errorf("%s: %q: has no items; leave it empty for none", source, text))
		}
	}
	return value{k, node}
}

// from marks a node and all below it as said by source and not by the file.
func from(n *yaml.Node, source string) {
	n.Line, n.Anchor = 0, source
	for _, below := range n.Content {
		from(below, source)
	}
}

// layer puts values over what root says. A secret and its file stand for each
// other: the higher layer's word counts.
func (l *loader) layer(root *yaml.Node, values []value) {
	for _, v := range values {
		set(root, v.path, v.node)
		other := twin(v.key())
		if i := slices.IndexFunc(values, func(o value) bool { return o.key() == other }); i < 0 {
			set(root, strings.Split(other, "."), nil)
		}
	}
}

// twin is the key with the file of a secret, and the other way round.
func twin(key string) string {
	if k, ok := strings.CutSuffix(key, "_file"); ok {
		return k
	}
	return key + "_file"
}

// set puts node at path under a mapping; a nil node takes away what is there.
func set(mapping *yaml.Node, path []string, node *yaml.Node) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value != path[0] {
			continue
		}
		switch below := mapping.Content[i+1]; {
		case len(path) > 1 && below.Kind == yaml.MappingNode:
			set(below, path[1:], node)
		case len(path) > 1 && node != nil:
			mapping.Content[i+1] = &yaml.Node{Kind: yaml.MappingNode}
			set(mapping.Content[i+1], path[1:], node)
		case len(path) > 1:
		case node == nil:
			mapping.Content = slices.Delete(mapping.Content, i, i+2)
		default:
			mapping.Content[i+1] = node
		}
		return
	}
	if node == nil {
		return
	}
	if len(path) > 1 {
		below := &yaml.Node{Kind: yaml.MappingNode}
		set(below, path[1:], node)
		node = below
	}
	mapping.Content = append(mapping.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: path[0]}, node)
}

// where says where a node was said.
func (l *loader) where(n *yaml.Node) string {
	if n.Line == 0 {
		return n.Anchor
	}
	return fmt.Sprintf("%s:%d", l.file, n.Line)
}

func (l *loader) fail(n *yaml.Node, format string, args ...any) {
	prefix := l.where(n)
	if prefix != "" {
		prefix += ": "
	}
	l.wrong = append(l.wrong, fmt.Errorf(prefix+format, args...))
}

// decode puts a node into v, which stands at key. Null leaves v as it is.
func (l *loader) decode(n *yaml.Node, v reflect.Value, key string) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Tag == "!!null" {
		return
	}
	t := v.Type()
	switch {
	case t == reflect.TypeFor[json.RawMessage]():
		l.object(n, v, key)
	case scalars[t] != nil || t.Kind() == reflect.String:
		l.scalar(n, v, key)
	case t.Kind() == reflect.Pointer:
		p := reflect.New(t.Elem())
		l.decode(n, p.Elem(), key)
		v.Set(p)
	case t.Kind() == reflect.Struct:
		l.mapping(n, v, key)
	case n.Kind == yaml.ScalarNode && scalars[t.Elem()] == nil && t.Elem().Kind() != reflect.String, n.Kind == yaml.MappingNode:
		l.fail(n, "%s: write a list", key)
	case n.Kind == yaml.ScalarNode: // one item is a list of one
		l.list([]*yaml.Node{n}, v, key)
	default:
		l.list(n.Content, v, key)
	}
}

func (l *loader) scalar(n *yaml.Node, v reflect.Value, key string) {
	if n.Kind != yaml.ScalarNode {
		l.fail(n, "%s: write a single value", key)
		return
	}
	read := scalars[v.Type()]
	if read == nil {
		v.SetString(n.Value)
		return
	}
	parsed, err := read(n.Value)
	if err != nil {
		l.fail(n, "%s: %q: %w", key, n.Value, err)
		return
	}
	v.Set(reflect.ValueOf(parsed))
}

// object keeps keys and values as JSON, of which they may be text.
func (l *loader) object(n *yaml.Node, v reflect.Value, key string) {
	text := []byte(n.Value)
	var members any
	if n.Kind == yaml.MappingNode && n.Decode(&members) == nil {
		text, _ = json.Marshal(members) // what JSON cannot say is none, and refused below
	}
	if !json.Valid(text) {
		l.fail(n, "%s: write keys and values, or JSON", key)
		return
	}
	v.SetBytes(text)
}

func (l *loader) list(items []*yaml.Node, v reflect.Value, key string) {
	out := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		l.decode(item, out.Index(i), fmt.Sprintf("%s[%d]", key, i))
	}
	v.Set(out)
}

func (l *loader) mapping(n *yaml.Node, v reflect.Value, key string) {
	if n.Kind != yaml.MappingNode {
		l.fail(n, "%s: write keys and values", key)
		return
	}
	prefix := key
	if prefix != "" {
		prefix += "."
	}
	fields := map[string]field{}
	var names []string
	for f := range fieldsOf(v.Type()) {
		fields[f.name] = f
		names = append(names, prefix+f.name)
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i].Value
		at := prefix + name
		f, ok := fields[name]
		switch {
		case seen[name]:
			l.fail(n.Content[i], "%s is set twice", at)
		case ok:
			l.decode(n.Content[i+1], v.FieldByIndex(f.index), at)
		case v.Type() == reflect.TypeFor[Client]() && slices.Contains(provider.UnsupportedMetadata, name):
			l.fail(n.Content[i], "%s is %s", at, notAvailable)
		default:
			l.fail(n.Content[i], "%s is unknown%s", at, suggest(at, names))
		}
		seen[name] = true
	}
	for name := range fields { // a secret said twice in one place
		if file := name + "_file"; seen[name] && seen[file] {
			l.fail(n, "%s%s and %s%s are both set; keep one", prefix, name, prefix, file)
		}
	}
}

// suggest gives ", did you mean …?" with the nearest name, when one is near.
func suggest(name string, names []string) string {
	best, at := "", len(name)/3+2
	for _, candidate := range names {
		if d := distance(strings.ToLower(name), strings.ToLower(candidate)); d < at {
			best, at = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance is the number of letters to change, add or leave out to make b of a
// (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
