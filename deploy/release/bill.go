package main

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"strings"
)

// The parts of CycloneDX 1.6 that say what a Go binary is made of.
type (
	bom struct {
		Format       string      `json:"bomFormat"`
		SpecVersion  string      `json:"specVersion"`
		Version      int         `json:"version"`
		Metadata     metadata    `json:"metadata"`
		Components   []component `json:"components"`
		Dependencies []depends   `json:"dependencies"`
	}
	metadata struct {
		Component component `json:"component"`
	}
	component struct {
		Ref        string     `json:"bom-ref"`
		Type       string     `json:"type"`
		Name       string     `json:"name"`
		Version    string     `json:"version"`
		PackageURL string     `json:"purl"`
		Properties []property `json:"properties,omitempty"`
	}
	property struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	depends struct {
		Ref       string   `json:"ref"`
		DependsOn []string `json:"dependsOn"`
	}
)

// bill is the bill of materials of a binary, in CycloneDX: the modules that are
// linked into it, as the binary itself tells, and the Go that built it.
func bill(binary, version string) ([]byte, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, fmt.Errorf("bill of materials: %w", err)
	}
	module := func(kind, path, version string) component {
		url := "pkg:golang/" + path + "@" + version
		return component{Ref: url, Type: kind, Name: path, Version: version, PackageURL: url}
	}
	self := module("application", info.Main.Path, version)
	for _, s := range info.Settings {
		if s.Key == "GOOS" || s.Key == "GOARCH" || s.Key == "CGO_ENABLED" || s.Key == "-trimpath" {
			self.Properties = append(self.Properties, property{"go:" + s.Key, s.Value})
		}
	}
	out := bom{Format: "CycloneDX", SpecVersion: "1.6", Version: 1, Metadata: metadata{self}, Components: []component{
		module("library", "stdlib", strings.TrimPrefix(info.GoVersion, "go")),
	}}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		c := module("library", m.Path, m.Version)
		if m.Sum != "" {
			c.Properties = append(c.Properties, property{"go:sum", m.Sum})
		}
		out.Components = append(out.Components, c)
	}
	needs := depends{Ref: self.Ref}
	for _, c := range out.Components {
		needs.DependsOn = append(needs.DependsOn, c.Ref)
	}
	out.Dependencies = []depends{needs}
	text, err := json.MarshalIndent(out, "", "  ")
	return append(text, '\n'), err
}
