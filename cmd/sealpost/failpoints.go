//go:build failpoints

package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"modernc.org/sqlite"

	"github.com/sealpost/sealpost/storage"
)

// A program that is built with the tag failpoints kills itself at the step of a
// login that FAILPOINT names, as kill -9 would, and has a clock that is ahead by
// FAILPOINT_CLOCK. test/fault runs it; any other build has none of this.

// hit ends the process when this is the step.
func hit(step string) {
	if os.Getenv("FAILPOINT") == step {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // whatever is left of its time, nothing is done in it
	}
}

// The n-th transaction of SQLite that is to be committed is the step "commit n",
// were it that of a migration.
func init() {
	commits := new(atomic.Int64)
	sqlite.RegisterConnectionHook(func(conn sqlite.ExecQuerierContext, _ string) error {
		conn.(sqlite.HookRegisterer).RegisterCommitHook(func() int32 {
			hit(fmt.Sprintf("commit %d", commits.Add(1)))
			return 0
		})
		return nil
	})
}

func failpointClock(now func() time.Time) func() time.Time {
	ahead := os.Getenv("FAILPOINT_CLOCK")
	if ahead == "" {
		return now
	}
	by, err := time.ParseDuration(ahead)
	if err != nil {
		panic(err)
	}
	return func() time.Time { return now().Add(by) }
}

func failpointStore(db store) store { return failing{db} }

// failing is a store after whose commits the process may end.
type failing struct{ store }

func (s failing) StartAttempt(ctx context.Context, a storage.Attempt, m storage.Mail, limits []storage.Limit, now time.Time) error {
	err := s.store.StartAttempt(ctx, a, m, limits, now)
	hit("attempt stored")
	return err
}

func (s failing) ClaimMail(ctx context.Context, n int, now, leaseUntil time.Time) ([]storage.QueuedMail, error) {
	mails, err := s.store.ClaimMail(ctx, n, now, leaseUntil)
	if len(mails) > 0 {
		hit("mail claimed")
	}
	return mails, err
}

func (s failing) FinishMail(ctx context.Context, outcomes []storage.MailOutcome, now time.Time) error {
	for _, o := range outcomes {
		if o.State == storage.MailSent {
			hit("mail taken")
		}
	}
	return s.store.FinishMail(ctx, outcomes, now)
}

func (s failing) CompleteAttempt(ctx context.Context, c storage.Completion, now time.Time) (storage.Login, error) {
	l, err := s.store.CompleteAttempt(ctx, c, now)
	hit("link used")
	return l, err
}

func (s failing) RedeemCode(ctx context.Context, g storage.Grant, r storage.Redeeming, now time.Time) (storage.User, error) {
	u, err := s.store.RedeemCode(ctx, g, r, now)
	hit("code redeemed")
	return u, err
}

func (s failing) Refresh(ctx context.Context, r storage.Refreshing, now time.Time) (storage.Grant, storage.User, error) {
	g, u, err := s.store.Refresh(ctx, r, now)
	hit("token refreshed")
	return g, u, err
}

func failpointAnswers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(failingWriter{w}, r) })
}

// failingWriter ends the process before a code is on its way to a client.
type failingWriter struct{ http.ResponseWriter }

func (w failingWriter) WriteHeader(status int) {
	if to, err := url.Parse(w.Header().Get("Location")); err == nil && to.Query().Has("code") {
		hit("code issued")
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w failingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
