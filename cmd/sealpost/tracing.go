package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// startTracing sends traces where the standard variables of OpenTelemetry say
// (OTEL_EXPORTER_OTLP_ENDPOINT and its like, over HTTP); without them there are
// none. stop sends what is left.
func startTracing(ctx context.Context, getenv func(string) string) (tracer trace.Tracer, stop func(context.Context) error, err error) {
	wanted := getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
	if !wanted || getenv("OTEL_TRACES_EXPORTER") == "none" || strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") {
		return noop.Tracer{}, func(context.Context) error { return nil }, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("tracing: %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "sealpost"), attribute.String("service.version", version())),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, nil, fmt.Errorf("tracing: %w", err)
	}
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about))
	return provider.Tracer("github.com/sealpost/sealpost"), provider.Shutdown, nil
}

// startSpan begins the span of a request. Whoever calls may name a trace of
// theirs: ours links to it and is none of it, or they could fill ours.
func startSpan(ctx context.Context, tracer trace.Tracer, r *http.Request) (context.Context, trace.Span) {
	if _, off := tracer.(noop.Tracer); off {
		return ctx, noop.Span{}
	}
	theirs := propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(r.Header))
	options := []trace.SpanStartOption{trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer)}
	if trace.SpanContextFromContext(theirs).IsValid() {
		options = append(options, trace.WithLinks(trace.LinkFromContext(theirs)))
	}
	return tracer.Start(ctx, knownMethod(r.Method), options...)
}

// endSpan tells what a request's line tells of it: the route, never what was
// asked.
func endSpan(span trace.Span, r *http.Request, route string, status int) {
	if !span.IsRecording() {
		return
	}
	method := knownMethod(r.Method)
	span.SetName(method + " " + route)
	span.SetAttributes(attribute.String("http.request.method", method), attribute.String("http.route", route), attribute.Int("http.response.status_code", status))
	if status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, "")
	}
	span.End()
}
