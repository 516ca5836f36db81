package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/pageflare/ci/service/command"
	"github.com/pageflare/ci/service/opaque"
)

// Traces have no settings of their own: OpenTelemetry's variables turn them on and say where they
// go. The library reads them itself; here is only whether they make sense.

const (
	otlpEndpoint       = "OTEL_EXPORTER_OTLP_ENDPOINT"
	otlpTracesEndpoint = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
)

// tracingOn tells whether traces are wanted. The error has a line for each variable that is wrong.
func tracingOn(getenv func(string) string) (bool, error) {
	if getenv(otlpEndpoint)+getenv(otlpTracesEndpoint) == "" || getenv("OTEL_SDK_DISABLED") == "true" || getenv("OTEL_TRACES_EXPORTER") == "none" {
		return false, nil
	}
	var faults []error
	for _, name := range []string{otlpEndpoint, otlpTracesEndpoint} {
		if v := getenv(name); v != "" && checkEndpoint(v) != nil {
			faults = append(faults, fmt.Errorf("%s: %q %w; give a URL such as http://127.0.0.1:4318", name, opaque.HideUserInfo(v), checkEndpoint(v)))
		}
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"} {
		if v := getenv(name); v != "" && v != "http/protobuf" {
			faults = append(faults, fmt.Errorf("%s: %q is not spoken here; give http/protobuf, and an endpoint that takes it", name, v))
		}
	}
	return true, errors.Join(faults...)
}

func checkEndpoint(s string) error {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return errors.New("is not an http or https URL")
	}
	return nil
}

// traceStopTimeout is how long the last spans may take on their way out.
const traceStopTimeout = 5 * time.Second

// startTracing returns what makes spans, nil when traces are off, and what sends the last of them
// and ends it.
func (a *app) startTracing(ctx context.Context, log *slog.Logger) (trace.Tracer, func(), error) {
	if !a.cfg.Tracing {
		return nil, func() {}, nil
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces", "err", err) }))
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("traces: %w", err)
	}
	about, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", "pageflare-license"), attribute.String("service.version", version)), resource.WithFromEnv())
	if err != nil {
		return nil, nil, command.Usagef("OTEL_RESOURCE_ATTRIBUTES: %w: give NAME=VALUE,…", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	stop := func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), traceStopTimeout)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			log.Warn("traces", "err", err) // what cannot be sent is no fault of the service
		}
	}
	return provider.Tracer("github.com/pageflare/ci/service"), stop, nil
}
