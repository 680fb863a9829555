//go:build !failpoints

package main

import (
	"net/http"
	"time"
)

// What test/fault's own build puts in the place of these is in failpoints.go.

func failpointClock(now func() time.Time) func() time.Time { return now }

func failpointStore(db store) store { return db }

func failpointAnswers(next http.Handler) http.Handler { return next }
