package postgres

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/sealpost/sealpost/storage"
)

// traced begins a span inside that of ctx; without one there is none. It names
// the call and none of its values.
func traced(ctx context.Context, what string) (context.Context, func(error)) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, func(error) {}
	}
	ctx, span := parent.TracerProvider().Tracer("github.com/sealpost/sealpost/storage/postgres").Start(ctx, what,
		trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("db.system.name", "postgresql"), attribute.String("db.operation.name", what)))
	return ctx, func(err error) {
		if err != nil && !errors.Is(err, storage.ErrNotFound) && !errors.Is(err, storage.ErrConflict) {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}
