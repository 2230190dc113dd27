//! `/metrics` for Prometheus, over plain HTTP on an address of its own.
//!
//! Absent on purpose: anything a scraper could change, and any name of a device.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use http::{Method, Request, Response, StatusCode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics::{describe_gauge, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use nibble_server::listener::Meters;
use tokio::{net::TcpListener, task::JoinSet, time::timeout};

/// Scrapes at a time.
const SCRAPES: usize = 8;
/// Longest time a scrape may take.
const SCRAPE: Duration = Duration::from_secs(10);

/// Collects what the process counts from now on.
pub(crate) fn install() -> Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new().install_recorder().context("metrics cannot be collected")?;
    describe_gauge!("nibble_connections", "Open connections by what is known of the peer");
    nibble_server::coordinator::describe_metrics();
    Ok(handle)
}

/// Serves `/metrics` until it is dropped.
pub(crate) async fn serve(address: SocketAddr, handle: PrometheusHandle, meters: Meters) -> Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("metrics = {address:?}: cannot listen"))?;
    tracing::info!(address = %listener.local_addr()?, "serving metrics");
    let mut scrapes = JoinSet::new();
    loop {
        while scrapes.len() >= SCRAPES {
            scrapes.join_next().await;
        }
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        while scrapes.try_join_next().is_some() {}
        let (handle, meters) = (handle.clone(), meters.clone());
        let answer = service_fn(move |request: Request<Incoming>| {
            let response = answer(&request, &handle, &meters);
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(SCRAPE)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), answer);
        scrapes.spawn(async move { drop(timeout(SCRAPE, connection).await) });
    }
}

fn answer(request: &Request<Incoming>, handle: &PrometheusHandle, meters: &Meters) -> Response<String> {
    let connections = meters.connections();
    for (state, count) in [
        ("handshaking", connections.handshaking),
        ("anonymous", connections.anonymous),
        ("identified", connections.identified),
    ] {
        gauge!("nibble_connections", "state" => state).set(count as f64);
    }
    gauge!("nibble_connections_refused").set(connections.refused as f64);
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => (StatusCode::OK, handle.render()),
        (&Method::GET, _) => (StatusCode::NOT_FOUND, "metrics are at /metrics\n".into()),
        _ => (StatusCode::METHOD_NOT_ALLOWED, "GET /metrics\n".into()),
    };
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("text/plain; version=0.0.4"));
    response
}
