package server

import (
	"net/http"

	"github.com/gin-gonic/gin"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/pageflare/ci/service/server/route"
)

// traceparent carries the trace that a request belongs to (https://www.w3.org/TR/trace-context/).
var traceparent = propagation.TraceContext{}

// traced makes a span of a request, by the names of OpenTelemetry's conventions for HTTP. Like the
// access log it holds no header, no query, no path as it was sent and no body: nothing in it can be
// a secret.
func (s *Server) traced(c *gin.Context) {
	path, method := c.FullPath(), knownMethod(c.Request.Method)
	if method == none {
		method = "_OTHER"
	}
	name := method
	attrs := []attribute.KeyValue{attribute.String("http.request.method", method)}
	if path != "" {
		name += " " + path
		attrs = append(attrs, attribute.String("http.route", path))
	}
	ctx := traceparent.Extract(c.Request.Context(), propagation.HeaderCarrier(c.Request.Header))
	ctx, span := s.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attrs...))
	defer span.End()
	c.Request = c.Request.WithContext(ctx)
	c.Next()
	status := c.Writer.Status()
	span.SetAttributes(attribute.Int("http.response.status_code", status),
		attribute.String("pageflare.request_id", route.RequestID(c)))
	if reason, _, refused := route.RefusalOf(c); refused {
		span.SetAttributes(attribute.String("error.type", string(reason)))
	}
	if status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, "")
	}
}
