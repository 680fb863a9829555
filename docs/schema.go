// Package docs holds the documents that the program prints; its tests hold the
// others to what is there.
package docs

import _ "embed"

// SettingsSchema is the JSON schema of the settings file. It is generated from
// the comments of cmd/sealpost/config.go.
//
//go:embed settings.schema.json
var SettingsSchema []byte
