package storage

import (
	"slices"
	"strings"
)

// MergeApps makes one App of all there are of a client, and puts them in the
// order of the clients' ids' bytes. Engines give one for each consent and each
// grant.
func MergeApps(parts []App) []App {
	byID := map[string]*App{}
	for _, p := range parts {
		a := byID[p.ClientID]
		if a == nil {
			a = &App{ClientID: p.ClientID}
			byID[p.ClientID] = a
		}
		a.Scopes = append(a.Scopes, p.Scopes...)
		if p.ConsentAt.After(a.ConsentAt) {
			a.ConsentAt = p.ConsentAt
		}
		if p.GrantedAt.After(a.GrantedAt) {
			a.GrantedAt = p.GrantedAt
		}
		a.Offline = a.Offline || p.Offline
	}
	var all []App
	for _, a := range byID {
		slices.Sort(a.Scopes)
		a.Scopes = slices.Compact(a.Scopes)
		all = append(all, *a)
	}
	slices.SortFunc(all, func(a, b App) int { return strings.Compare(a.ClientID, b.ClientID) })
	return all
}
