"""What operators look at and are called for: a scrape, rules, and a dashboard."""

import json
from collections.abc import Iterator

from deploy.rendering.files import Manifest, Target, in_yaml, labelled

MONITORING = "monitoring.coreos.com/v1"
SECONDS_BUCKET = "gen_ai_server_time_to_first_token_seconds_bucket"
ERRORS = 'http_server_request_duration_seconds_count{http_response_status_code=~"5.."}'
REQUESTS = "http_server_request_duration_seconds_count"
PANELS = {
    "Requests a second, by status": (
        f"sum by (http_response_status_code) (rate({REQUESTS}[1m]))",
        "reqps",
    ),
    "First token, p50 and p99": (
        f"histogram_quantile(0.5, sum by (le) (rate({SECONDS_BUCKET}[5m]))) or "
        f'label_replace(histogram_quantile(0.99, sum by (le) (rate({SECONDS_BUCKET}[5m]))), "p", '
        '"99", "", "")',
        "s",
    ),
    "Tokens a second": (
        "sum by (gen_ai_token_type) (rate(gen_ai_client_token_usage_sum[1m]))",
        "short",
    ),
    "Rows computed and waiting": (
        "sum(myriad_engine_running) or label_replace(sum(myriad_engine_waiting), "
        '"rows", "waiting", "", "")',
        "short",
    ),
    "Pages taken": ("1 - sum(myriad_engine_pages_free) / sum(myriad_engine_pages)", "percentunit"),
    "Adapters resident": ("sum(myriad_engine_adapters_resident)", "short"),
    "Engines": ("max(myriad_engine_replicas)", "short"),
    "Answered by": ("topk(10, sum by (specialist) (rate(myriad_decisions_total[5m])))", "reqps"),
    "Fine-tuning jobs, by status": ("max by (status) (myriad_training_jobs)", "short"),
    "Batches, by status": ("max by (status) (myriad_batches)", "short"),
    "Specialists routed to": ("max(myriad_snapshot_specialists)", "short"),
    "Specialists that cannot be routed to": ("max(myriad_snapshot_skipped)", "short"),
}
"""Titles, expressions, units."""
RULES = {
    "MyriadDown": ("absent(myriad_snapshot_generation)", "5m", "critical", "no router answers"),
    "MyriadErrors": (
        f"sum(rate({ERRORS}[5m])) / sum(rate({REQUESTS}[5m])) > 0.01",
        "5m",
        "critical",
        "more than one request in a hundred fails",
    ),
    "MyriadSlow": (
        f"histogram_quantile(0.99, sum by (le) (rate({SECONDS_BUCKET}[5m]))) > 6",
        "10m",
        "warning",
        "one first token in a hundred takes more than six seconds",
    ),
    "MyriadFull": (
        "sum(myriad_engine_waiting) > 2 * sum(myriad_engine_running)",
        "10m",
        "warning",
        "twice as many rows wait as are computed: raise MYRIAD_ENGINE__MAX_REPLICAS",
    ),
    "MyriadUnreadable": (
        "max(myriad_snapshot_skipped) > 0",
        "15m",
        "warning",
        "specialists cannot be routed to; the routers' log and `myriad status` say why",
    ),
}
"""Alerts: expression, how long it must hold, severity, what it means."""


def monitoring_files(target: Target) -> dict[str, str]:
    """Manifests for the Prometheus operator, and a dashboard that Grafana's sidecar finds."""
    manifests = in_yaml(scrape(target), rules(target), dashboard_map(target))
    return {"monitoring.yaml": manifests}


def scrape(target: Target) -> Manifest:
    """Reads /metrics with a key of the scope `metrics`."""
    credentials = {"name": target.secret, "key": "METRICS_KEY"}
    endpoint = {
        "port": "serve",
        "path": "/metrics",
        "interval": "15s",
        "authorization": {"type": "Bearer", "credentials": credentials},
    }
    service = {"matchLabels": {"ray.io/serve": f"{target.name}-serve"}}
    spec = {"selector": service, "endpoints": [endpoint]}
    return labelled(target, MONITORING, "ServiceMonitor", target.name, spec=spec)


def rules(target: Target) -> Manifest:
    """When somebody is to be called."""
    alerts = [
        {
            "alert": name,
            "expr": expression,
            "for": lasting,
            "labels": {"severity": severity},
            "annotations": {"summary": meaning},
        }
        for name, (expression, lasting, severity, meaning) in RULES.items()
    ]
    spec = {"groups": [{"name": target.name, "rules": alerts}]}
    return labelled(target, MONITORING, "PrometheusRule", target.name, spec=spec)


def dashboard_map(target: Target) -> Manifest:
    """The dashboard, under the label that Grafana's sidecar looks for."""
    data = {f"{target.name}.json": json.dumps(dashboard(), indent=1)}
    made = labelled(target, "v1", "ConfigMap", f"{target.name}-dashboard", data=data)
    made["metadata"]["labels"]["grafana_dashboard"] = "1"
    return made


def dashboard() -> Manifest:
    """Grafana's dashboard, two panels in a row."""
    return {
        "title": "Myriad",
        "uid": "myriad",
        "schemaVersion": 39,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [{"name": "source", "type": "datasource", "query": "prometheus"}]},
        "panels": list(_panels()),
    }


def _panels() -> Iterator[Manifest]:
    for at, (title, (expression, unit)) in enumerate(PANELS.items()):
        yield {
            "id": at + 1,
            "title": title,
            "type": "timeseries",
            "datasource": {"type": "prometheus", "uid": "${source}"},
            "gridPos": {"x": 12 * (at % 2), "y": 8 * (at // 2), "w": 12, "h": 8},
            "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
            "targets": [{"refId": "A", "expr": expression}],
        }
