package store

import (
	"context"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// traceWrite makes a span of a write, waiting for its turn included, when the caller is traced;
// otherwise it does nothing. The function that it returns ends the span.
func traceWrite(ctx context.Context) (context.Context, func(error)) {
	caller := trace.SpanFromContext(ctx)
	if !caller.IsRecording() {
		return ctx, func(error) {}
	}
	ctx, span := caller.TracerProvider().Tracer("github.com/pageflare/ci/service/store").Start(ctx,
		"store write")
	return ctx, func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, "") // its text is for the log
		}
		span.End()
	}
}
