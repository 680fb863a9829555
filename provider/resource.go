package provider

import (
	"net/url"
	"slices"
	"strings"
)

// maxResources is how many resources one request may name.
const maxResources = 8

// checkResources checks what the resource parameter names (RFC 8707 §2):
// absolute URIs without a fragment, and, where known lists some, those alone.
func checkResources(named, known []string) ([]string, *Error) {
	if len(named) > maxResources {
		return nil, &Error{Code: invalidTarget, Description: "too many resources are named"}
	}
	var list []string
	for _, r := range given(named) {
		u, err := url.Parse(r)
		switch {
		case err != nil || u.Scheme == "" || u.Host == "" && u.Opaque == "" || strings.Contains(r, "#") || len(r) > maxParam/4 || !isText(r):
			return nil, &Error{Code: invalidTarget, Description: "resource is not an absolute URI without fragment"}
		case len(known) > 0 && !slices.Contains(known, r):
			return nil, &Error{Code: invalidTarget, Description: "resource is not known here"}
		case !slices.Contains(list, r):
			list = append(list, r)
		}
	}
	return list, nil
}

// given leaves out parameters without a value: they are as omitted (RFC 6749
// §3.1, §3.2).
func given(values []string) []string {
	return slices.DeleteFunc(slices.Clone(values), func(v string) bool { return v == "" })
}

// narrowed gives the resources that a token request names out of those granted,
// all of them when it names none (RFC 8707 §2.2).
func narrowed(granted, named []string) ([]string, *Error) {
	if named = given(named); len(named) == 0 {
		return granted, nil
	}
	for _, r := range named {
		if !slices.Contains(granted, r) {
			return nil, &Error{Code: invalidTarget, Description: "resource goes beyond what was granted"}
		}
	}
	return slices.DeleteFunc(slices.Clone(granted), func(r string) bool { return !slices.Contains(named, r) }), nil
}
