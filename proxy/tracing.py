"""Traces: a caller's ``traceparent`` goes on to Bedrock; spans, where the operator wants them.

Without the extra nothing is imported and a request pays for one look into its headers: what came
in is checked and passed on as it is, so that a trace does not end here. With it (``Spans``) each
request is a span of kind server and its call to Bedrock one of kind client, named and described by
OpenTelemetry's conventions for generative AI; how they are exported is told by OpenTelemetry's own
variables (``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_TRACES_SAMPLER`` and so on).

No span holds a prompt, an answer or a key. Sources: W3C, *Trace Context*, level 1; OpenTelemetry,
*Semantic conventions for generative client AI spans*.
"""

import re
from collections.abc import Callable, Mapping
from time import monotonic_ns, time_ns
from typing import Any, Final, Protocol

from proxy.metrics import Record

_PARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-.*")
_LONGEST: Final = 512
"""Characters of a ``tracestate`` that is passed on; more than that may be dropped by anyone."""


class ExtraMissing(Exception):
    """Tracing was asked for and OpenTelemetry is not installed; the message says how."""


class Trace(Protocol):
    """One request's part of a trace."""

    def calling(self, model_id: str) -> None:
        """Bedrock is about to be called; sets ``record.passed``, the headers for it."""
        ...

    def end(self, path: str) -> None:
        """The request has ended; how, stands in its record."""
        ...


class Tracing(Protocol):
    def begin(self, headers: Mapping[str, str], record: Record) -> Trace:
        """A request begins; ``headers`` by lower-case name. Sets ``record.trace_id``."""
        ...

    def close(self) -> None:
        """Send what is still held. Blocks."""
        ...


def parent_of(headers: Mapping[str, str]) -> dict[str, str]:
    """The trace headers of a request that are well-formed; no ``tracestate`` on its own."""
    parent = headers.get("traceparent", "")
    if len(parent) > _LONGEST or not parent.isascii() or not _PARENT.fullmatch(parent):
        return {}
    if parent.startswith("00") and len(parent) != 55:
        return {}
    state = headers.get("tracestate", "")
    fit = 0 < len(state) <= _LONGEST and state.isascii()
    return {"traceparent": parent} | ({"tracestate": state} if fit else {})


class PassOn:
    """No spans: the caller's trace context is passed on as it came."""

    def begin(self, headers: Mapping[str, str], record: Record) -> "PassOn":
        if "traceparent" in headers:
            record.passed = parent_of(headers)
            if record.passed:
                record.trace_id = record.passed["traceparent"][3:35]
        return self

    def calling(self, model_id: str) -> None:
        return

    def end(self, path: str) -> None:
        return

    def close(self) -> None:
        return


class Spans:
    """Spans by OpenTelemetry. ``provider`` is a ``TracerProvider`` of its SDK."""

    def __init__(self, provider: Any, version: str) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self.api = trace
        self.tracer = provider.get_tracer("bedrock-openai-proxy", version)
        self.propagator = TraceContextTextMapPropagator()
        self._shutdown: Callable[[], None] = provider.shutdown

    def begin(self, headers: Mapping[str, str], record: Record) -> "Trace":
        return _Spanned(self, parent_of(headers), record)

    def close(self) -> None:
        self._shutdown()


class _Spanned:
    """A request with its span, and the span of its call to Bedrock."""

    def __init__(self, spans: Spans, parent: dict[str, str], record: Record) -> None:
        self._spans = spans
        self._record = record
        self._called = ""
        self._call: Any = None
        # A record's times are of the monotonic clock; spans want unix time.
        self._offset = time_ns() - monotonic_ns()
        self._span = spans.tracer.start_span(
            f"POST {record.endpoint}",
            context=spans.propagator.extract(parent),
            kind=spans.api.SpanKind.SERVER,
            start_time=self._at(record.began),
        )
        record.trace_id = f"{self._span.get_span_context().trace_id:032x}"

    def calling(self, model_id: str) -> None:
        spans = self._spans
        self._called = model_id
        self._call = spans.tracer.start_span(
            f"{self._record.endpoint} {self._record.model}",
            context=spans.api.set_span_in_context(self._span),
            kind=spans.api.SpanKind.CLIENT,
        )
        carrier: dict[str, str] = {}
        spans.propagator.inject(carrier, spans.api.set_span_in_context(self._call))
        self._record.passed = carrier

    def end(self, path: str) -> None:
        record, ended = self._record, self._at(self._record.ended)
        failed = record.code != "ok"
        if self._call is not None:
            self._call.set_attributes(_call_attributes(record, self._called))
            if record.first_content and record.stream:
                self._call.add_event("first_token", timestamp=self._at(record.first_content))
            self._finish(self._call, record.code if failed else "", ended)
        self._span.set_attributes(
            {
                "http.request.method": "POST",
                "http.route": path,
                "http.response.status_code": record.status,
                "bedrock_proxy.request_id": record.request_id,
            }
        )
        # By convention a server span of a request that was the caller's fault is no error.
        ours = failed and (record.status >= 500 or record.in_band)
        self._finish(self._span, record.code if ours else "", ended)

    def _finish(self, span: Any, error: str, at: int) -> None:
        if error:
            span.set_attribute("error.type", error)
            span.set_status(self._spans.api.Status(self._spans.api.StatusCode.ERROR))
        span.end(at)

    def _at(self, seconds: float) -> int:
        return int(seconds * 1e9) + self._offset


def _call_attributes(record: Record, called: str) -> dict[str, Any]:
    """Of the conventions' names; input tokens there include cached ones."""
    cached = record.cache_read_tokens + record.cache_write_tokens
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": record.endpoint,
        "gen_ai.provider.name": "aws.bedrock",
        "gen_ai.request.model": called,
        "gen_ai.response.model": called,
        "gen_ai.usage.input_tokens": record.input_tokens + cached,
        "gen_ai.usage.output_tokens": record.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": record.cache_read_tokens,
        "gen_ai.usage.cache_creation.input_tokens": record.cache_write_tokens,
        "bedrock_proxy.retries": record.retries,
    }
    if record.finish:
        attributes["gen_ai.response.finish_reasons"] = (record.finish,)
    if record.region:
        attributes["cloud.region"] = record.region
    if record.upstream_id:
        attributes["aws.request_id"] = record.upstream_id
    return attributes


def open_spans(version: str) -> Spans:
    """Spans that are sent by OTLP over HTTP. Raises ``ExtraMissing``."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise ExtraMissing(
            "tracing needs OpenTelemetry: pip install 'bedrock-openai-proxy[otel]'"
        ) from None
    resource = Resource.create({"service.version": version})
    if str(resource.attributes.get("service.name", "")).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "bedrock-openai-proxy"}))
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Spans(provider, version)
